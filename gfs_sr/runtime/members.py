"""One member of one batch of tiles, through both graphs, all tiles alone: what exporters compare engines by.

Where a denoiser looks beyond a tile, its field is continued by its edge: forecasts are drawn by
`gfs_sr.runtime.drawing`, frame by frame over all tiles.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from gfs_sr.runtime.backends.base import Array, Backend
from gfs_sr.runtime.backends.signature import DenoiserSignature
from gfs_sr.sampling import SamplingConfig, VpProcess, sample

FloatField = npt.NDArray[np.float32]
Draw = Callable[[int, tuple[int, ...]], FloatField]  # number of a draw and shape -> standard normals


def draw_field(
    mean: Backend,
    denoiser: Backend,
    inputs: Mapping[str, Array],
    noise: Draw,
    sampling: SamplingConfig | None = None,
) -> FloatField:
    """(B, r·T, C, s·H, s·W), model units, of inputs as the graph `mean` takes them."""
    contract = mean.contract
    assert contract.denoising is not None  # else there are no such graphs
    signature = DenoiserSignature(contract)
    halo, s, r = signature.halo, contract.scale_factor, contract.time_factor
    sides = ((0, 0), (r * halo.before, r * halo.after), (0, 0), (s * halo.north, s * halo.south),
             (s * halo.west, s * halo.east))  # fmt: skip
    made = {name: array.copy() for name, array in mean.infer(inputs).items()}
    condition = np.pad(made["condition"], sides, mode="edge")
    fixed = {name: inputs[name] for name in signature.inputs if name in inputs}

    def denoise(z: FloatField, sigma: float) -> FloatField:
        given = {
            "noisy": np.pad(z, sides, mode="edge"),
            "condition": condition,
            "sigma": np.full(z.shape[0], sigma, np.float32),
        }
        return denoiser.infer(given | fixed)["fine"].copy()

    shape = made["fine"].shape
    process = VpProcess(contract.denoising.beta_d, contract.denoising.beta_min)
    z = sample(denoise, lambda number: noise(number, shape), sampling or contract.denoising.sampling, process)
    field: FloatField = made["fine"] + made["unit"] * z
    return field
