"""Shapes of what a refinement takes and gives, from its contract."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Halo, NoiseGrid, NoiseInput, PredictorGrid
from gfs_sr.errors import ShapeMismatch

Array = npt.NDArray[Any]


def check_inputs(contract: Contract, inputs: Mapping[str, Array]) -> tuple[int, ...]:
    """Check a batch against the contract.

    Returns:
        The shape (B, r·T, C, s·H, s·W) that the output must have.

    Raises:
        ShapeMismatch: an input is missing, unknown, or of another shape or type.
    """
    if set(inputs) != set(contract.graph_inputs()):
        raise ShapeMismatch(
            f"the graph takes {', '.join(contract.graph_inputs())}; given were {', '.join(inputs) or 'none'}",
            contract.name,
            "give exactly the inputs the contract names",
        )
    coarse = inputs["coarse"].shape
    core = core_shape(contract, coarse)
    if contract.any_time:
        contract = contract.for_times(inputs["fraction"].shape[-1])
    expected = input_shapes(contract, core)
    for name, array in inputs.items():
        dtype = np.int64 if name == "variable" else np.float32
        if array.shape != expected[name] or array.dtype != dtype:
            raise ShapeMismatch(
                f"input {name} is {array.shape} {array.dtype}, but must be {expected[name]} {np.dtype(dtype)}",
                contract.name,
                f"coarse is {coarse}, which with this halo means a core of (B, T, C, H, W) = {core}",
            )
    return output_shape(contract, core)


def halo_of(contract: Contract) -> Halo:
    """The halo the graph's inputs carry: none where the model sees the whole field."""
    return Halo.symmetric(0, 0) if isinstance(contract.halo, str) else contract.halo


def core_shape(contract: Contract, coarse: tuple[int, ...]) -> tuple[int, ...]:
    """(B, T, C, H, W) of the core in a `coarse` input that carries its halo.

    Raises:
        ShapeMismatch: not five axes, no core left inside the halo, or another number of variables.
    """
    halo = halo_of(contract)
    margins = (0, halo.before + halo.after, 0, halo.north + halo.south, halo.west + halo.east)
    core = tuple(size - margin for size, margin in zip(coarse, margins, strict=False))
    channels = len(contract.inputs)
    if len(coarse) != 5 or min(core) < 1 or (core[2] > channels if contract.any_subset else core[2] != channels):
        count = f"at most {channels}" if contract.any_subset else str(channels)
        raise ShapeMismatch(
            f"input coarse is {coarse}; it must be (B, T, C, H, W) with C {count} and more than the halo of {margins}",
            contract.name,
            "give larger tiles, and the variables the contract lists",
        )
    bound = contract.source_grid
    if bound is not None and core[3:] != (len(bound.lat), len(bound.lon)):
        raise ShapeMismatch(
            f"input coarse has {core[3]} by {core[4]} cells, the weights are of {len(bound.lat)} by {len(bound.lon)}",
            contract.name,
            "give the grid that the model was trained on",
        )
    return core


def input_shapes(contract: Contract, core: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of every graph input for a core of (B, T, C, H, W)."""
    halo = halo_of(contract)
    b, t, c, h, w = core
    r, s = contract.time_factor, contract.scale_factor
    padded = (h + halo.north + halo.south, w + halo.west + halo.east)
    frames = t + halo.before + halo.after
    fine = (s * h, s * w)
    leading = {  # predictors: frames and cells of each grid they may be given on
        PredictorGrid.COARSE: (frames, padded),
        PredictorGrid.COARSE_FINE_TIME: (r * t, padded),
        PredictorGrid.FINE: (r * t, fine),
    }
    shapes: dict[str, tuple[int, ...]] = {"coarse": (b, frames, c, *padded), "variable": (c,)}
    for grid, (times, cells) in leading.items():
        shapes[f"predictor_{grid}"] = (b, times, len(contract.predictors_on(grid)), *cells)
    shapes["static_coarse"] = (b, 1, len(contract.statics_coarse), *padded)
    shapes["static_fine"] = (b, 1, len(contract.statics_fine) * contract.scale_factor**2, *padded)
    for noise in contract.noise:
        shapes[noise.graph_input] = (b, *_noise_shape(contract, noise, frames, padded))
    shapes |= {"fraction": (b, t, r), "hours": (b,)}
    return {name: shapes[name] for name in contract.graph_inputs()}


def _noise_shape(contract: Contract, noise: NoiseInput, frames: int, padded: tuple[int, int]) -> tuple[int, ...]:
    """(T, N, H, W) for tiles of so many frames and cells, halo included."""
    if noise.grid is NoiseGrid.COARSE:
        return frames, noise.channels, *padded
    if noise.grid is NoiseGrid.FINE:
        return contract.time_factor * frames, noise.channels * contract.scale_factor**2, *padded
    return contract.time_factor * frames, noise.channels, 1, 1


def output_shape(contract: Contract, core: tuple[int, ...]) -> tuple[int, ...]:
    """(B, r·T, C_out, s·H, s·W) for a core of (B, T, C, H, W)."""
    b, t, c, h, w = core
    r, s = contract.time_factor, contract.scale_factor
    channels = c if contract.any_subset else len(contract.outputs)
    return b, r * t, channels, s * h, s * w
