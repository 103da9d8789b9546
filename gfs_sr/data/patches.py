"""Reproducible, registered coarse and fine windows: index in, arrays out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.errors import ShapeMismatch

Values = npt.NDArray[Any]


def generator(*key: int) -> np.random.Generator:
    """Random numbers of one sample: the same for the same key, whatever was drawn before, in whatever process.

    Source: Philox, the counter-based generator of Salmon et al. 2011 (SC11).
    """
    state = np.random.SeedSequence(key).generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=state))


@dataclass(frozen=True)
class Patch:
    """Where a window lies, in coarse cells of the whole field; its fine origin is s times its coarse one."""

    row: int
    col: int
    size: int

    def fine_origin(self, scale_factor: int) -> tuple[int, int]:
        """(row, col) in fine cells: always multiples of s."""
        return self.row * scale_factor, self.col * scale_factor


@dataclass(frozen=True)
class PatchSampler:
    """Draws windows by counter: draw (epoch, index) is the same whatever was drawn before, in whatever process."""

    coarse_shape: tuple[int, int]  # (H, W) of the field
    size: int  # of the core, coarse cells
    scale_factor: int
    fine_shape: tuple[int, int] | None = None  # of the fine field, where it ends before s·H, s·W
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse a core larger than the field.

        Raises:
            ShapeMismatch: no window fits.
        """
        if min(self._choices()) < 1:
            raise ShapeMismatch(
                f"a patch of {self.size} coarse cells does not fit into {self.coarse_shape}",
                "patch sampling",
                f"take at most {min(self._limits())} cells",
            )

    def draw(self, epoch: int, index: int) -> Patch:
        """The window of one training sample."""
        rng = generator(self.seed, epoch, index)
        rows, cols = self._choices()
        return Patch(int(rng.integers(rows)), int(rng.integers(cols)), self.size)

    def centered(self) -> Patch:
        """The window in the middle, for validation that never changes."""
        rows, cols = self._choices()
        return Patch((rows - 1) // 2, (cols - 1) // 2, self.size)

    def _limits(self) -> tuple[int, int]:
        fine = self.fine_shape or tuple(self.scale_factor * length for length in self.coarse_shape)
        rows, cols = (
            min(length, cells // self.scale_factor) for length, cells in zip(self.coarse_shape, fine, strict=True)
        )
        return rows, cols

    def _choices(self) -> tuple[int, int]:
        rows, cols = self._limits()
        return rows - self.size + 1, cols - self.size + 1


def cut_coarse(coarse: Values, patch: Patch, context: int = 0, periodic: bool = False) -> Values:
    """The window with `context` more cells on each side, so that training reads what inference reads.

    Args:
        coarse: (..., H, W).
        patch: the core.
        context: coarse cells on each side; beyond the field, edges are replicated (longitudes wrap where periodic).
        periodic: longitudes go once around the globe.

    Returns:
        (..., size + 2·context, size + 2·context), a copy.
    """
    height, width = coarse.shape[-2:]
    rows = np.clip(np.arange(patch.row - context, patch.row + patch.size + context), 0, height - 1)
    cols = np.arange(patch.col - context, patch.col + patch.size + context)
    cols = cols % width if periodic else np.clip(cols, 0, width - 1)
    window: Values = coarse[..., rows[:, None], cols]
    return window


def cut_fine(fine: Values, patch: Patch, scale_factor: int) -> Values:
    """(..., s·size, s·size) of (..., at most s·H, at most s·W): the fine cells of the core, a view."""
    row, col = patch.fine_origin(scale_factor)
    extent = scale_factor * patch.size
    return fine[..., row : row + extent, col : col + extent]
