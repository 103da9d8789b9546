"""The tile shapes an engine is built for: a fixed tile, a range of batch sizes."""

from pydantic import BaseModel, ConfigDict

from gfs_sr.contract import Contract
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import MODEL
from gfs_sr.runtime.backends.signature import signature_of

DEFAULT_TILE = (8, 64, 64)  # core frames, rows, columns: the seed's 8 frames; rows and columns that a GPU fills well
DEFAULT_BATCH = (1, 4, 16)


class Shapes(BaseModel):
    """What one graph input may be: TensorRT's min, opt and max."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class Profile(BaseModel):
    """An optimization profile, `profiles.json` in the artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: tuple[int, int, int]  # core frames, rows, columns
    batch: tuple[int, int, int]  # smallest, most likely, largest
    inputs: dict[str, Shapes]


def plan_profile(
    contract: Contract, tile: tuple[int, int, int], batch: tuple[int, int, int], role: str = MODEL
) -> Profile:
    """Of a graph, for tiles with a core of `tile`; where the contract allows, any number of variables too."""
    most = len(contract.inputs)
    channels = (1 if contract.any_subset else most, most, most)
    frames, rows, columns = tile
    shapes = [
        signature_of(contract, role).input_shapes((size, frames, count, rows, columns))
        for size, count in zip(batch, channels, strict=True)
    ]
    inputs = {name: Shapes(min=shapes[0][name], opt=shapes[1][name], max=shapes[2][name]) for name in shapes[0]}
    return Profile(tile=tile, batch=batch, inputs=inputs)


def check_sizes(tile: tuple[int, int, int], batch: tuple[int, int, int]) -> None:
    """Refuse sizes that no engine has.

    Raises:
        UsageError: a size below 1, or batch sizes that fall.
    """
    if min(tile) < 1:
        raise UsageError(f"a tile of {tile} has no cells", "--tile", "give N, or T,H,W, each at least 1")
    if min(batch) < 1 or tuple(sorted(batch)) != batch:
        raise UsageError(f"batch sizes {batch} do not rise from 1", "--batch", "give min,opt,max such as 1,4,16")


def parse_tile(text: str) -> tuple[int, int, int]:
    """Read "64" or "8,64,96" as core frames, rows and columns.

    Raises:
        UsageError: neither.
    """
    sizes = _integers(text, "--tile", "give N, or T,H,W such as 8,64,64")
    if len(sizes) == 1:
        return DEFAULT_TILE[0], sizes[0], sizes[0]
    if len(sizes) == 3:
        return sizes[0], sizes[1], sizes[2]
    raise UsageError(f"--tile {text} has {len(sizes)} sizes", "--tile", "give N, or T,H,W such as 8,64,64")


def parse_batch(text: str) -> tuple[int, int, int]:
    """Read "1,4,16" as smallest, most likely and largest batch.

    Raises:
        UsageError: not three integers.
    """
    sizes = _integers(text, "--batch", "give min,opt,max such as 1,4,16")
    if len(sizes) != 3:
        raise UsageError(f"--batch {text} has {len(sizes)} sizes", "--batch", "give min,opt,max such as 1,4,16")
    return sizes[0], sizes[1], sizes[2]


def _integers(text: str, where: str, mend: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{text!r} holds no whole numbers", where, mend) from error
