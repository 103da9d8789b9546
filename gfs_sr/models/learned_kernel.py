"""A linear interpolation fitted to fields: what n by n coarse cells say of the s by s fine ones of the middle."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.receptive_field import Reach

RIDGE = (
    1e-3  # of the mean square of what the fit is made of: kernels of nearly equal worth are told apart by their size
)


class Kernel(nn.Module):
    """Added to a given interpolation: it starts at nothing, and knows no mean, so that a constant adds nothing.

    Args:
        side: n, odd.
        scale_factor: s.
    """

    def __init__(self, side: int, scale_factor: int) -> None:
        super().__init__()
        self.side, self.scale_factor = side, scale_factor
        self.weight = nn.Parameter(torch.zeros(scale_factor**2, 1, side, side))

    def forward(self, coarse: Tensor) -> Tensor:
        """(B, T, D, H, W) -> (B, T, D, s·H, s·W): the same kernel for every field."""
        wide = pad_edges(coarse, Reach.space(self.side // 2)).flatten(0, 2)[:, None]
        weight = self.weight - self.weight.mean(dim=(2, 3), keepdim=True)
        fine = F.pixel_shuffle(F.conv2d(wide, weight), self.scale_factor)
        return fine.reshape(*coarse.shape[:3], *fine.shape[-2:])

    def fit(self, pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Set the weights to the least squares over all fields together, each field by what is missing in it.

        Args:
            pairs: (coarse (B, T, D, H, W), what the given interpolation misses (B, T, D, s·H, s·W), where that is
                known, of its shape). Cells whose kernel reaches beyond the field have no part, where others have.
        """
        count = self.side**2
        gram = torch.zeros(count, count, dtype=torch.float64)
        moment = torch.zeros(count, self.scale_factor**2, dtype=torch.float64)
        for coarse, missing, known in pairs:
            fields = zip(*(each.flatten(0, 2).double().cpu() for each in (coarse, missing, known)), strict=True)
            for field, error, mask in fields:
                X, Y = self._cells(field, error, mask)
                size = Y.square().mean() if len(Y) else 0.0
                if size > 0:
                    gram += X.T @ X / (size * len(Y))
                    moment += X.T @ Y / (size * len(Y))
        if not gram.any():
            return
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(count, dtype=torch.float64)
        found = torch.linalg.solve(gram + ridge, moment).T.reshape(self.weight.shape)
        with torch.no_grad():
            self.weight.copy_(found)

    def _cells(self, coarse: Tensor, missing: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """(H, W) and (s·H, s·W) -> ((N, n²) without their mean, (N, s²)), of N coarse cells."""
        rows, columns = coarse.shape
        rim = min(self.side // 2, (rows - 1) // 2, (columns - 1) // 2)
        wide = pad_edges(coarse[None, None, None], Reach.space(self.side // 2))[0, 0]
        around = F.unfold(wide[None], self.side)[0].T.reshape(rows, columns, -1)
        around = around - around.mean(dim=-1, keepdim=True)
        s = self.scale_factor
        errors, masks = (F.pixel_unshuffle(each[None], s).permute(1, 2, 0) for each in (missing, known))
        inner = slice(rim, rows - rim), slice(rim, columns - rim)
        whole = masks[inner].bool().all(dim=-1)
        return around[inner][whole], errors[inner][whole]
