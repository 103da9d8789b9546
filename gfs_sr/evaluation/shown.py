"""What the report draws of one variable: fields of the first forecast, joint counts, means, maps over time."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from gfs_sr.data.grid import FloatArray
from gfs_sr.evaluation.cases import BUCKETS
from gfs_sr.evaluation.records import CellMaps, Fields
from gfs_sr.evaluation.scenes import Read
from gfs_sr.evaluation.view import VariableView
from gfs_sr.metrics.cell_maps import CellSums
from gfs_sr.metrics.distributions import joint_counts

FIELD_BYTES = 64 << 20  # of one variable's fields that are kept


def sweep(fields: VariableView, read: Read, edges: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(Joint counts, domain means of the members (M, T), those of the truth (T,)).

    Values beyond the edges count in the outermost bins: a forecast that goes too far has not gone away.
    """
    weights = fields.view.window.weights
    counts = np.zeros((edges.size - 1, edges.size - 1))
    means, truths = [], []
    for chunk in fields.view.chunks:
        values, truth = read(chunk), fields.truth(chunk)
        valid = np.isfinite(truth) & np.isfinite(values).all(axis=0)
        area = np.where(valid, weights, 0.0)
        for member in values:
            inside = np.clip(member, edges[0], edges[-1]), np.clip(truth, edges[0], edges[-1])
            counts += joint_counts(*inside, edges, area) / len(values)
        total = area.sum(axis=(1, 2))
        with np.errstate(invalid="ignore"):  # a frame without any valid cell
            means.append(np.where(valid, values * area, 0.0).sum(axis=(2, 3)) / total)
            truths.append(np.where(valid, truth * area, 0.0).sum(axis=(1, 2)) / total)
    return counts, np.concatenate(means, axis=1), np.concatenate(truths)


def kept_fields(fields: VariableView, readers: Mapping[str, Read]) -> Fields:
    """Truth and methods, every k-th frame where all would take more than `FIELD_BYTES`."""
    view = fields.view
    window, case = view.window, view.case
    count, (height, width) = len(window.frames), window.shape
    layers = 1 + sum(view.predictions[name].members + 1 if name in view.predictions else 1 for name in readers)
    middle = _shown_frame(window.interpolated, view.time_factor)
    every = max(1, -(-4 * count * height * width * layers // FIELD_BYTES))
    kept = np.arange(middle % every, count, every)

    def whole(read: Callable[[slice], FloatArray]) -> npt.NDArray[np.float32]:
        parts = [
            read(chunk)[..., (kept[(kept >= chunk.start) & (kept < chunk.stop)] - chunk.start), :, :]
            for chunk in view.chunks
        ]
        return np.concatenate(parts, axis=-3).astype(np.float32)

    members = {
        name: whole(read)
        for name, read in readers.items()
        if name in view.predictions and view.predictions[name].members > 1
    }
    times = case.truth.times
    frames = [window.frames[index] for index in kept]
    coarse_times = case.coarse.times.lead_hours[list(view.coarse_frames)]
    return Fields(
        task=view.task,
        variable=fields.variable,
        case=case.label,
        bucket=case.kind in BUCKETS,
        lat=window.grid.lat,
        lon=window.grid.lon,
        lead_hours=times.lead_hours[frames],
        valid_times=times.valid_times[frames],
        interval_hours=case.coarse.times.step_hours,
        time_factor=view.time_factor,
        shown_frame=int(np.searchsorted(kept, middle)),
        truth=whole(fields.truth),
        methods={
            name: members[name].mean(axis=0) if name in members else whole(read)[0] for name, read in readers.items()
        },
        members=members,
        coarse=fields.coarse,
        coarse_lat=case.coarse.grid.lat,
        coarse_lon=case.coarse.grid.lon,
        coarse_lead_hours=coarse_times,
    )


def _shown_frame(interpolated: int, r: int) -> int:
    """Halfway between two coarse frames in the middle of the forecast, where interpolation in time is hardest."""
    interval = max(0, (interpolated - 1) // r // 2)
    return min(interpolated - 1, interval * r + r // 2)


def cell_maps(fields: VariableView, sums: Mapping[str, CellSums]) -> CellMaps:
    """Of each method's sums over frames."""
    grid = fields.view.window.grid
    maps = {
        name: {
            "RMSE": each.rmse(),
            "nRMSE": each.nrmse(),
            "bias": each.bias(),
            "NMB": each.normalized_bias(),
            "Pearson": each.correlation(),
        }
        for name, each in sums.items()
    }
    return CellMaps(fields.view.task, fields.variable, grid.lat, grid.lon, maps)
