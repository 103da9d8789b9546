"""Types of the compiled core (csrc/bindings.cpp)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

class Axis:
    def __init__(
        self,
        length: int,
        core: int,
        before: int,
        after: int,
        boundary: str,
        north: int | None = None,
        south: int | None = None,
    ) -> None: ...

class Plan:
    def __init__(self, time: Axis, lat: Axis, lon: Axis) -> None: ...

def source_of(axis: Axis, index: int) -> tuple[int, bool]: ...
def gather(
    frames: Sequence[npt.NDArray[np.float32]],
    first_frame: int,
    plan: Plan,
    time_tile: int,
    tiles: Sequence[int],
    transform: npt.NDArray[np.uint8] | None,
    offset: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    flip: npt.NDArray[np.bool_],
    fill: npt.NDArray[np.float32] | None,
    out: npt.NDArray[Any],
    threads: int,
) -> None: ...
def scatter(
    fine: npt.NDArray[Any],
    plan: Plan,
    time_tile: int,
    tiles: Sequence[int],
    scale_factor: int,
    time_factor: int,
    transform: npt.NDArray[np.uint8] | None,
    offset: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
    masks: Sequence[npt.NDArray[np.bool_ | np.uint8]],
    first_mask: int,
    is_node: bool,
    bucket: npt.NDArray[np.bool_] | None,
    out: npt.NDArray[np.float32],
    origin: tuple[int, int, int],
    threads: int,
) -> None: ...
def fill_nearest(
    frame: npt.NDArray[np.float32], is_periodic: bool, threads: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]: ...
def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]: ...
def fill_normals(
    key: int,
    lat: npt.NDArray[np.int32],
    lon: npt.NDArray[np.int32],
    step: int,
    out: npt.NDArray[np.float32],
    threads: int,
) -> None: ...
def fill_channels(
    key: int,
    lat: npt.NDArray[np.int32],
    lon: npt.NDArray[np.int32],
    is_uniform: bool,
    out: npt.NDArray[np.float32],
    threads: int,
) -> None: ...

class WinogradWorkspace:
    def __init__(self) -> None: ...

class WinogradConvolution:
    def __init__(self, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], relu: bool) -> None: ...
    @property
    def outputs(self) -> int: ...
    @property
    def size(self) -> int: ...
    def run(
        self,
        source: npt.NDArray[np.float32],
        target: npt.NDArray[np.float32],
        skip: npt.NDArray[np.float32] | None,
        workspace: WinogradWorkspace,
        threads: int,
        most_lanes: int = 16,
    ) -> None: ...

def winograd_lanes() -> int: ...
def convolve_field(
    weight: npt.NDArray[np.float32], source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], threads: int
) -> None: ...
def bit_planes(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.uint8], block: int, most_bytes: int = 64
) -> None: ...
def bit_planes_bytes() -> int: ...
def to_half_portable(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]: ...
def from_half_portable(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]: ...
