"""The configuration of `gfs-sr build-dataset`."""

from datetime import date
from pathlib import Path

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from gfs_sr.data.regions import Box
from gfs_sr.data.variables import canonical_names, lookup
from gfs_sr.errors import MissingFile, MissingVariable, UsageError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFiles(_Frozen):
    """Files of one producer on one grid, one run of times after another."""

    files: tuple[str, ...]  # below `folder`; patterns are allowed
    variables: tuple[str, ...]  # names of the table, levels as t@850

    @field_validator("variables")
    @classmethod
    def _names_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        found = []
        for name in names:
            base, at, level = name.partition("@")
            found.append(canonical_names().get(base, base) + at + level)
            try:
                lookup(found[-1])
            except MissingVariable as error:
                raise ValueError(error.what) from error
        return tuple(found)


class CoarseGrid(_Frozen):
    """The grid that coarse fields are remapped to; exactly one of the three ways."""

    scale_factor: PositiveInt | None = None  # blocks of fine cells, over the fine region alone
    spacing: tuple[PositiveFloat, PositiveFloat] | None = None  # degrees, (lat, lon), of a global grid of such cells
    origin: tuple[float, float] = (90.0, 0.0)  # latitude and longitude of one of its cell edges
    file: str | None = None  # the grid of a file's first field

    @model_validator(mode="after")
    def _one_way(self) -> "CoarseGrid":
        if sum(each is not None for each in (self.scale_factor, self.spacing, self.file)) != 1:
            raise ValueError("give one of scale_factor, spacing and file")
        return self


class Fine(_Frozen):
    """What is to be predicted."""

    sources: tuple[SourceFiles, ...]
    box: tuple[float, float, float, float] | None = None  # north, west, south, east: the region; all where None


class Coarse(_Frozen):
    """What it is predicted from; written as `coarse_NAME`."""

    sources: tuple[SourceFiles, ...]
    grid: CoarseGrid


class Statics(_Frozen):
    """Terrain height and land; the bundled map's where no file is named."""

    orog: str | None = None
    lsm: str | None = None


class BuildConfig(_Frozen):
    """One data set."""

    output: str  # .nc or .zarr
    folder: str = "."  # what all paths are below
    fine: Fine
    coarse: Coarse
    statics: Statics | None = Statics()  # none where null
    first: date | None = None  # of the period, both ends included; what all variables have in common where None
    last: date | None = None
    leap_days: bool = True  # false drops 29 February
    memory_mib: PositiveInt = 256  # of fields held at once, about

    @property
    def fine_box(self) -> Box | None:
        """The region."""
        return None if self.fine.box is None else Box(*self.fine.box)


def read_build_config(path: Path) -> BuildConfig:
    """A configuration file.

    Raises:
        MissingFile: no such file.
        UsageError: it cannot be what it should.
    """
    if not path.is_file():
        raise MissingFile(f"no configuration {path}", "--config", "name a YAML file as docs/guide/data.md shows")
    try:
        return BuildConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UsageError(f"is no YAML: {error}", str(path), "mend the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{key}: {first['msg']}", str(path), "see docs/guide/data.md") from error
