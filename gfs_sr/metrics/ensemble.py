"""Scores of an ensemble as a distribution: CRPS, energy score, spread against skill."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.metrics.metric import Better, Metric, Statistic, Value, by_frame, mean_of, ratio
from gfs_sr.metrics.pooling import SIZES, Pool
from gfs_sr.metrics.scene import Frame, Need

GROUP = "ensemble"
Values = npt.NDArray[Any]


def crps(members: Values, truth: Values, fair: bool = True) -> FloatArray:
    """Continuous ranked probability score of each cell: mean |x - y| minus half the mean |x - x'| over pairs.

    Args:
        members: (M, ...).
        truth: (...).
        fair: pairs are of different members, so that the score does not depend on their number (Ferro 2014, QJRMS 140);
            else of all M² (the empirical distribution's).

    Returns:
        (...), units of the field. NaN where M = 1 and `fair`; without `fair` that is the absolute error.

    The sum over pairs comes from the sorted members (Zamo and Naveau 2018, Math. Geosci. 50): nothing is of size M².
    """
    x, y = np.asarray(members, np.float64), np.asarray(truth, np.float64)
    count = x.shape[0]
    skill = np.abs(x - y).mean(axis=0)
    pairs = count * (count - 1) if fair else count * count
    if pairs == 0:
        return np.full(y.shape, np.nan)
    places = 2.0 * np.arange(count) - (count - 1)  # in how many pairs a sorted member is larger, less smaller
    score: FloatArray = skill - np.tensordot(places, np.sort(x, axis=0), axes=1) / pairs
    return score


def energy_score(members: Values, truth: Values, weights: Values | None = None, fair: bool = True) -> float:
    """Energy score of a whole field: mean ||x - y|| minus half the mean ||x - x'||, the norm being the weighted RMS.

    Args:
        members: (M, ...).
        truth: (...).
        weights: broadcast to (...); cells that are NaN in any field weigh nothing.
        fair: as of `crps`; with one member the second term is 0 either way.

    Source: Gneiting and Raftery 2007 (JASA 102), equation 22 with β = 1. Distances of members come from their M by M
    products, not from M² fields.
    """
    x, y = np.asarray(members, np.float64), np.asarray(truth, np.float64)
    count = x.shape[0]
    valid = np.isfinite(y) & np.isfinite(x).all(axis=0)
    w = np.ones(int(valid.sum())) if weights is None else np.broadcast_to(weights, y.shape)[valid].astype(np.float64)
    total = w.sum()
    if not total > 0:
        return float("nan")
    errors = (x[:, valid] - y[valid]) * np.sqrt(w / total)  # their differences are those of the members
    products = errors @ errors.T
    lengths = np.diag(products)
    apart = np.sqrt(np.maximum(lengths[:, None] + lengths[None] - 2 * products, 0.0))
    pairs = count * (count - 1) if fair else count * count
    return float(np.sqrt(lengths).mean() - (apart.sum() / (2 * pairs) if count > 1 else 0.0))


def _crps_sums(frame: Frame) -> npt.ArrayLike:
    valid = frame.valid
    fields, truth, w = frame.fields[:, valid], frame.truth[valid], frame.weights[valid]
    return w @ crps(fields, truth, fair=False), w @ crps(fields, truth), w.sum()


def _energy_sums(frame: Frame) -> npt.ArrayLike:
    score = energy_score(frame.fields, frame.truth, frame.weights)
    return (score, 1.0) if np.isfinite(score) else (0.0, 0.0)


def _spread_sums(frame: Frame) -> npt.ArrayLike:
    valid = frame.valid
    w, fields = frame.weights[valid], frame.fields[:, valid]
    error = fields.mean(axis=0) - frame.truth[valid]
    return w @ fields.var(axis=0, ddof=1), w @ error**2, w.sum(), len(fields) * w.sum()


def spread(sums: FloatArray) -> FloatArray:
    """Root of the mean variance of the members, times (M + 1)/M as the truth is one more draw (Fortin et al. 2014)."""
    members = ratio(sums[..., 3], sums[..., 2])
    return np.sqrt((members + 1) / members * ratio(sums[..., 0], sums[..., 2]))


def mean_error(sums: FloatArray) -> FloatArray:
    """RMSE of the ensemble mean."""
    return np.sqrt(ratio(sums[..., 1], sums[..., 2]))


def spread_skill(sums: FloatArray) -> FloatArray:
    """Spread over the RMSE of the mean; 1 where members and truth are draws of one distribution."""
    return ratio(spread(sums), mean_error(sums))


_MEMBERS = frozenset({Need.MEMBERS})
CRPS = Statistic("crps", by_frame(_crps_sums), _MEMBERS)
ENERGY = Statistic("energy", by_frame(_energy_sums), _MEMBERS)
SPREAD = Statistic("spread", by_frame(_spread_sums), _MEMBERS)

_POOLED: tuple[tuple[str, Statistic, Value, str], ...] = (
    ("CRPS", CRPS, mean_of(1, 2), "CRPS (fair)"),
    ("CRPS of the members", CRPS, mean_of(0, 2), "CRPS of the members' own distribution"),
    ("energy score", ENERGY, mean_of(), "Energy score (fair)"),
)


def _pooled(pool: Pool) -> tuple[Metric, ...]:
    blocks = f"{'means' if pool.how == 'mean' else 'maxima'} over {pool.size} by {pool.size} cells"
    better: Better = "lower"
    return tuple(
        Metric(
            f"{title} @ {pool.name}",
            "pooled",
            replace(statistic, pool=pool),
            value,
            better,
            f"{words} of {blocks}.",
            "{u}",
            title,
            pool.name,
        )
        for title, statistic, value, words in _POOLED
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        "CRPS", GROUP, CRPS, mean_of(1, 2), "lower",
        "Distance of the forecast distribution from the truth, fair in the number of members.", "{u}",
    ),
    Metric(
        "CRPS of the members", GROUP, CRPS, mean_of(0, 2), "lower",
        "Distance of the members' own distribution from the truth: smaller ensembles lose.", "{u}",
    ),
    Metric(
        "energy score", GROUP, ENERGY, mean_of(), "lower",
        "CRPS of whole fields: members must agree with the truth cell by cell together.", "{u}",
    ),
    Metric("spread", GROUP, SPREAD, spread, "neither", "How far members lie apart: as far as their mean errs.", "{u}"),
    Metric("RMSE of the mean", GROUP, SPREAD, mean_error, "lower", "Error of the ensemble mean.", "{u}"),
    Metric(
        "spread-skill ratio", GROUP, SPREAD, spread_skill, "one",
        "Spread over the error of the mean: below 1 the ensemble is too sure of itself.",
    ),
    *(metric for how in ("mean", "max") for size in SIZES for metric in _pooled(Pool(how, size))),
)  # fmt: skip
