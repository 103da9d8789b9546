"""The door to all formats: files in, one forecast out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gfs_sr.data.forecast import Forecast
from gfs_sr.data.sources.assemble import assemble
from gfs_sr.data.sources.series import Source
from gfs_sr.data.sources.sniff import Format, sniff
from gfs_sr.data.variables import canonical_names, lookup
from gfs_sr.errors import MissingFile

if TYPE_CHECKING:
    import xarray as xr


def open_forecast(
    paths: Sequence[Path | str] | Path | str, variables: Sequence[str] | None = None, *, derive: bool = True
) -> Forecast:
    """One forecast from files that hold some of its lead times or some of its variables, in any order.

    Args:
        paths: GRIB, NetCDF or Zarr, told by content.
        variables: names of the table, in the order wanted, or None for all that is found.
        derive: compute `wspd` and `r2` where they are asked for and absent.

    Raises:
        InputError: with the class that says why the input cannot be used.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise MissingFile("no input file was given", "the list of files", "name at least one")
    findings: list[str] = []
    sources = read_sources(files, findings)
    return assemble(sources, None if variables is None else canonical(variables), derive=derive, findings=findings)


def from_dataset(dataset: "xr.Dataset", variables: Sequence[str] | None = None, *, derive: bool = True) -> Forecast:
    """The forecast in a dataset that the user has opened; nothing is read before a frame is asked for.

    Raises:
        InputError: with the class that says why the dataset cannot be used.
    """
    from gfs_sr.data.sources.dataset import read_dataset

    name = Path(str(dataset.encoding.get("source", "dataset"))).name
    findings: list[str] = []
    source = read_dataset(dataset, name, findings)
    return assemble([source], None if variables is None else canonical(variables), derive=derive, findings=findings)


def read_sources(files: Sequence[Path], findings: list[str]) -> list[Source]:
    """What the files offer, each read by its format."""
    formats = {path: sniff(path) for path in files}
    sources: list[Source] = []
    gribs = [path for path in files if formats[path] is Format.GRIB]
    if gribs:
        # importing a reader costs more than all else here, so each is imported where it is needed
        from gfs_sr.data.sources.grib import read_grib

        sources.append(read_grib(gribs, findings))
    for path in files:
        if formats[path] is Format.NETCDF:
            from gfs_sr.data.sources.netcdf import read_netcdf

            sources.append(read_netcdf(path, findings))
        elif formats[path] is Format.ZARR:
            from gfs_sr.data.sources.zarr import read_zarr

            sources.append(read_zarr(path, findings))
    return sources


def canonical(names: Sequence[str]) -> list[str]:
    """Names of the table for names as users write them: `2t` is `t2m`, `temperature@850` is `t@850`.

    Raises:
        MissingVariable: no such row.
    """
    spelled = []
    for name in names:
        base, at, level = name.partition("@")
        spelled.append(canonical_names().get(base, base) + at + level)
        lookup(spelled[-1])
    return spelled
