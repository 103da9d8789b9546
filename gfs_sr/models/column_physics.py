"""The thermodynamic equation on pressure levels: advection, vertical motion, static stability, and continuity.

Fields are (..., D, H, W) on levels of falling pressure p_1 > ... > p_D, in SI units. Rows and columns are those of an
orthogonal grid, regular or projected: distances follow from the positions of neighbours, so that they hold spherical
metric terms and map factors alike. Winds point along the columns (u) and against or along the rows (v), as those of a
regular grid and the grid-relative ones of a projection do.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

EARTH_RADIUS: Final = 6_371_229.0  # m
GAS_CONSTANT: Final = 287.05  # J / (kg K), of dry air
HEAT_CAPACITY: Final = 1004.64  # J / (kg K), of dry air at constant pressure
KAPPA: Final = GAS_CONSTANT / HEAT_CAPACITY
LEAST_COSINE: Final = math.cos(math.radians(89.5))


@dataclass(frozen=True, eq=False)
class Metric:
    """Meters from one cell to the next: along the rows eastward, along the columns northward (negative to the south).

    0 where a cell has no neighbour at another place, as in rows repeated beyond an edge.
    """

    east: Tensor
    north: Tensor


def metric_of(lat: Tensor, lon: Tensor) -> Metric:
    """Of cells at these positions, radians, (..., H, W)."""
    cosine = lat.cos().clamp(min=LEAST_COSINE)
    steps = []
    for axis in (-1, -2):
        up, along = _steps(lat, axis), _steps(lon, axis)
        along = along - 2 * math.pi * torch.round(along / (2 * math.pi))  # across the date line
        steps.append((up, EARTH_RADIUS * (up.square() + (cosine * along).square()).sqrt()))
    (_, east), (up, north) = steps
    return Metric(_per_cell(east, -1), _per_cell(north * up.sign(), -2))


def gradient(field: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    """Eastward and northward slope per meter: centred, one-sided at edges, second order inside."""
    return (
        _ratio(_per_cell(_steps(field, -1), -1), metric.east),
        _ratio(_per_cell(_steps(field, -2), -2), metric.north),
    )


def divergence(u: Tensor, v: Tensor, metric: Metric) -> Tensor:
    """Of the wind, 1/s: (d(u h_y)/di + d(v h_x)/dj) / (h_x h_y) with h the cells' sizes.

    On a regular grid that is du/dx + dv/dy - v tan(lat) / a.
    """
    flux = _per_cell(_steps(u * metric.north, -1), -1) + _per_cell(_steps(v * metric.east, -2), -2)
    return _ratio(flux, metric.east * metric.north)


def pressure_slopes(levels: Sequence[float]) -> Tensor:
    """(D, D) float64, rows of weights of d/dp: three points on uneven levels, at the ends the nearest three.

    Args:
        levels: Pa, falling. One level has no slope: 0.
    """
    count = len(levels)
    _check(levels)
    slopes = torch.zeros(count, count, dtype=torch.float64)
    if count == 1:
        return slopes
    for k, p in enumerate(levels):
        first = min(max(k - 1, 0), max(count - 3, 0))
        used = range(first, min(first + 3, count))
        for j in used:  # derivative of Lagrange's polynomial of level j at p
            others = [levels[i] for i in used if i != j]
            products = (math.prod(p - q for q in others if q != left) for left in others)
            slopes[k, j] = sum(products) / math.prod(levels[j] - q for q in others)
    return slopes


def downward_integrals(levels: Sequence[float]) -> Tensor:
    """(D, D) float64, rows of weights of the integral over pressure from each level down to the first: trapezoids."""
    _check(levels)
    weights = torch.zeros(len(levels), len(levels), dtype=torch.float64)
    for k, (below, above) in enumerate(itertools.pairwise(levels)):
        weights[k + 1 :, k : k + 2] += (below - above) / 2
    return weights


def on_levels(weights: Tensor, field: Tensor) -> Tensor:
    """(K, D) times (..., D, H, W) -> (..., K, H, W)."""
    return torch.einsum("kd,...dhw->...khw", weights.to(field.dtype), field)


def stability(temperature: Tensor, slopes: Tensor, pressure: Tensor) -> Tensor:
    """Return sigma = kappa T / p - dT/dp, K/Pa: 0 in a column of one potential temperature, below 0 where it overturns.

    Args:
        temperature: (..., D, H, W), K.
        slopes: of `pressure_slopes`.
        pressure: (D, 1, 1), Pa.
    """
    return KAPPA * temperature / pressure - on_levels(slopes, temperature)


def vertical_motion(u: Tensor, v: Tensor, metric: Metric, integrals: Tensor) -> Tensor:
    """Omega by continuity, Pa/s: the divergence between each level and the first, through which nothing flows.

    Args:
        u: (..., D, H, W), m/s.
        v: the same shape.
        metric: of the cells.
        integrals: of `downward_integrals`.

    Source: the kinematic method, d omega / dp = -div v, from the lowest level up; its errors grow upward.
    """
    return on_levels(integrals, divergence(u, v, metric))


@dataclass(frozen=True, eq=False)
class Tendency:
    """Terms of dT/dt, K/s, each (..., D, H, W)."""

    advection: Tensor  # -(u dT/dx + v dT/dy)
    vertical: Tensor  # omega sigma
    stability: Tensor  # sigma, K/Pa

    @property
    def total(self) -> Tensor:
        """Without what heats the air."""
        return self.advection + self.vertical


def tendency(
    temperature: Tensor, u: Tensor, v: Tensor, omega: Tensor, metric: Metric, slopes: Tensor, pressure: Tensor
) -> Tendency:
    """Of temperature, by the thermodynamic equation without heating.

    Args:
        temperature: (..., D, H, W), K.
        u: the same shape, m/s.
        v: the same shape.
        omega: the same shape, Pa/s.
        metric: of the cells.
        slopes: of `pressure_slopes`.
        pressure: (D, 1, 1), Pa.
    """
    east, north = gradient(temperature, metric)
    sigma = stability(temperature, slopes, pressure)
    return Tendency(-(u * east + v * north), omega * sigma, sigma)


def _check(levels: Sequence[float]) -> None:
    if not levels or min(levels) <= 0 or any(below <= above for below, above in itertools.pairwise(levels)):
        raise ValueError(f"levels have falling pressures above 0, got {', '.join(f'{each:g}' for each in levels)}")


def _steps(field: Tensor, axis: int) -> Tensor:
    """From the neighbour before to the neighbour after; at an edge the cell itself is its own neighbour."""
    size = field.shape[axis]
    first, last = field.narrow(axis, 0, 1), field.narrow(axis, size - 1, 1)
    wide = torch.cat([first, field, last], dim=axis)
    return wide.narrow(axis, 2, size) - wide.narrow(axis, 0, size)


def _per_cell(steps: Tensor, axis: int) -> Tensor:
    """Of `_steps`: per cell, of which they span two inside and one at an edge."""
    size = steps.shape[axis]
    span = _steps(torch.arange(size, dtype=steps.dtype, device=steps.device), 0).clamp(min=1)
    return steps / (span if axis == -1 else span[:, None])


def _ratio(field: Tensor, by: Tensor) -> Tensor:
    """0 where there is no distance to divide by."""
    return torch.where(by == 0, 0.0, field / torch.where(by == 0, 1.0, by))
