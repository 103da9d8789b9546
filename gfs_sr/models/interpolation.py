"""Fixed-weight layers that interpolate: the residual's base in every graph, the torch twin of data/interpolation.py."""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.data.grid import Registration
from gfs_sr.models.receptive_field import Reach, crop

KEYS = -0.5  # Keys 1981: the one `a` that reproduces linear and quadratic fields

Kernel = Callable[[float], float]  # signed distance in coarse units -> weight


def _nearest(x: float) -> float:
    return 1.0 if -0.5 <= x < 0.5 else 0.0  # halfway, the southern or eastern one


def _hold(x: float) -> float:
    return 1.0 if 0 <= x < 1 else 0.0


def _linear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float, a: float = KEYS) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


SPACE_KERNELS: Final[dict[str, Kernel]] = {"nearest": _nearest, "bilinear": _linear, "bicubic": _cubic}
# on even times Catmull-Rom is Keys' kernel with a = -1/2
TIME_KERNELS: Final[dict[str, Kernel]] = {"hold": _hold, "linear": _linear, "catmull_rom": _cubic}


def phases(factor: int, registration: Registration) -> list[float]:
    """Where the fine cells of coarse cell 0 lie, in coarse index units."""
    if registration is Registration.NODE:
        return [m / factor for m in range(factor)]
    return [(m + 0.5) / factor - 0.5 for m in range(factor)]


def tap_weights(kernel: Kernel, positions: list[float]) -> tuple[Tensor, int, int]:
    """Weights of the coarse cells around each position.

    Returns:
        ((positions, before + 1 + after) float64, before, after): no column of zeros at either end.
    """
    full = torch.tensor([[kernel(x - offset) for offset in range(-3, 4)] for x in positions], dtype=torch.float64)
    full = torch.where(full.abs() < 1e-14, torch.zeros((), dtype=torch.float64), full)
    used = full.abs().sum(dim=0).nonzero().flatten() - 3
    before, after = max(0, -int(used.min())), max(0, int(used.max()))
    return full[:, 3 - before : 4 + after], before, after


class SpaceInterpolation(nn.Module):
    """(N, 1, H + halo, W + halo) -> (N, 1, s·H, s·W) by a fixed convolution and one pixel shuffle."""

    weight: Tensor

    def __init__(self, method: str, scale_factor: int, registration: Registration) -> None:
        super().__init__()
        taps, before, after = tap_weights(SPACE_KERNELS[method], phases(scale_factor, registration))
        self.scale_factor = scale_factor
        self.reach = Reach(north=before, south=after, west=before, east=after)
        kernel = taps[:, None, :, None] * taps[None, :, None, :]  # (s, s, taps, taps)
        weight = kernel.reshape(scale_factor**2, 1, *kernel.shape[2:])
        self.register_buffer("weight", weight.float(), persistent=False)

    def forward(self, coarse: Tensor) -> Tensor:
        """Interpolate; the halo is used up."""
        return F.pixel_shuffle(self.sub_pixels(coarse), self.scale_factor)

    def sub_pixels(self, coarse: Tensor) -> Tensor:
        """(N, 1, H + halo, W + halo) -> (N, s², H, W): before the shuffle, where a residual may be added."""
        return F.conv2d(coarse, self.weight)

    @property
    def flops_per_coarse_cell(self) -> float:
        """2 per multiply-add."""
        return 2.0 * self.weight.numel()


class Sharpening(nn.Module):
    """(N, 1, H + halo, W + halo) -> (N, 1, H, W): c - a·Lap c, under `node` + (a²/2)·Lap Lap c.

    Undoes most of what the coarsening did (specification section 2.6); a ramp passes unchanged.
    """

    weight: Tensor

    def __init__(self, amount: float, registration: Registration) -> None:
        super().__init__()
        laplacian = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
        second = registration is Registration.NODE
        rim = 2 if second else 1
        kernel = torch.zeros(2 * rim + 1, 2 * rim + 1, dtype=torch.float64)
        kernel[rim, rim] = 1
        kernel[rim - 1 : rim + 2, rim - 1 : rim + 2] -= amount * laplacian
        if second:
            twice = F.conv2d(F.pad(laplacian, (2, 2, 2, 2))[None, None], laplacian[None, None])[0, 0]
            kernel += amount**2 / 2 * twice
        self.reach = Reach.space(rim)
        self.register_buffer("weight", kernel[None, None].float(), persistent=False)

    def forward(self, coarse: Tensor) -> Tensor:
        """Sharpen; the halo is used up."""
        return F.conv2d(coarse, self.weight)

    @property
    def flops_per_coarse_cell(self) -> float:
        """2 per multiply-add."""
        return 2.0 * self.weight.numel()


class TimeInterpolation(nn.Module):
    """(B, T + halo, C, H, W) -> (B, r·T, C, H, W): coarse frame k on fine frame r·k, whatever is done to space."""

    def __init__(self, method: str, time_factor: int) -> None:
        super().__init__()
        taps, before, after = tap_weights(TIME_KERNELS[method], phases(time_factor, Registration.NODE))
        self.time_factor = time_factor
        self.reach = Reach(before=before, after=after)
        self.taps: list[list[float]] = taps.tolist()

    def forward(self, coarse: Tensor) -> Tensor:
        """Interpolate; the halo is used up."""
        frames = coarse.shape[1] - len(self.taps[0]) + 1
        phases_of_frame = [_weighted(coarse, weights, frames) for weights in self.taps]
        return torch.stack(phases_of_frame, dim=2).flatten(1, 2)

    @property
    def flops_per_coarse_cell(self) -> float:
        """2 per multiply-add, per fine frame."""
        return 2.0 * sum(weight != 0 for weights in self.taps for weight in weights) / self.time_factor


class Interpolation(nn.Module):
    """Registered interpolation in space and time, sharpened before if asked: what an untrained model equals.

    (B, T + halo, C, H + halo, W + halo) -> (B, r·T, C, s·H, s·W), fp32; every channel and frame on its own.
    """

    def __init__(
        self,
        scale_factor: int,
        time_factor: int,
        registration: Registration,
        space: str = "bicubic",
        time: str = "linear",
        sharpening: float = 0.0,
    ) -> None:
        super().__init__()
        self.time = TimeInterpolation(time, time_factor)
        self.space = SpaceInterpolation(space, scale_factor, registration)
        self.sharpen = Sharpening(sharpening, registration) if sharpening else None
        self.reach = self.time.reach + self.space.reach + (self.sharpen.reach if self.sharpen else Reach())
        self.scale_factor, self.time_factor = scale_factor, time_factor

    def forward(self, coarse: Tensor) -> Tensor:
        """Interpolate; the halo is used up."""
        sub_pixels = self.sub_pixels(coarse)
        fine = F.pixel_shuffle(sub_pixels.flatten(0, 1), self.scale_factor)
        return fine.reshape(-1, sub_pixels.shape[1], *fine.shape[1:])

    def sub_pixels(self, coarse: Tensor) -> Tensor:
        """(B, T + halo, C, H + halo, W + halo) -> (B, r·T, C·s², H, W): one pixel shuffle away from fine."""
        if self.sharpen is not None:
            coarse = _on_planes(self.sharpen, coarse)[:, :, :, 0]
        return _on_planes(self.space.sub_pixels, self.time(coarse)).flatten(2, 3)

    def within(self, coarse: Tensor, halo: Reach) -> Tensor:
        """The same from an input that carries a larger `halo`."""
        fine: Tensor = self(crop(coarse, halo - self.reach))
        return fine

    @property
    def flops_per_coarse_cell(self) -> float:
        """Per channel, coarse cell and fine frame; 2 per multiply-add."""
        sharpen = self.sharpen.flops_per_coarse_cell / self.time_factor if self.sharpen else 0.0
        return sharpen + self.time.flops_per_coarse_cell + self.space.flops_per_coarse_cell


def pad_edges(x: Tensor, margin: Reach) -> Tensor:
    """(B, T, C, H, W) with `margin` more on each side, continued by its edge values."""
    frames, rows, columns = (
        (torch.arange(-before, size + after, device=x.device)).clamp(0, size - 1)
        for size, before, after in (
            (x.shape[1], margin.before, margin.after),
            (x.shape[3], margin.north, margin.south),
            (x.shape[4], margin.west, margin.east),
        )
    )
    return x[:, frames][:, :, :, rows][..., columns]


def _on_planes(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(B, T, C, H, W) -> (B, T, C, K, h, w) of a layer (N, 1, H, W) -> (N, K, h, w)."""
    B, T, C, H, W = x.shape
    planes = layer(x.reshape(B * T * C, 1, H, W))
    return planes.reshape(B, T, C, *planes.shape[1:])


def _weighted(coarse: Tensor, weights: list[float], frames: int) -> Tensor:
    terms = [coarse[:, j : j + frames] if weight == 1 else weight * coarse[:, j : j + frames]
             for j, weight in enumerate(weights) if weight]  # fmt: skip
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
