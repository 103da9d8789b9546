"""How large the noise of a dressed forecast is: fitted to the truth it is scored on, or to other sources, as one could.

The first knows what no forecaster knows; the second takes what the deterministic model leaves on sources that it was
trained on, each source counting alike, and is what could be shipped with it.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from crossvalidation.scores import is_scored
from crossvalidation.truth import truth_of, write_statics
from gfs_sr.data.coarsen import Coarsening, coarsen
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.training.field_set import FieldSet

Values = npt.NDArray[Any]

MOST_FRAMES: Final = 3  # of a source, evenly spaced: frames of one day hardly differ in how far off a model is
MOST_ERRORS: Final = 100_000  # of a source and variable
SIZES: Final = np.geomspace(0.05, 5.0, 47)  # of the noise, in errors of the field, among which a fit chooses


def normal_crps(error: Values, size: float) -> Values:
    """CRPS of a normal distribution that is off by `error` and has the standard deviation `size`.

    Source: Gneiting et al. 2005 (Mon. Wea. Rev. 133), equation 5.
    """
    off = np.asarray(error, np.float64) / size
    density = np.exp(-0.5 * off * off) / np.sqrt(2 * np.pi)
    score: Values = size * (off * (2 * ndtr(off) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return score


def fitted_size(errors: Sequence[Values]) -> float:
    """The standard deviation of noise with the least expected CRPS, the mean over sources of their errors' means."""
    unit = float(np.sqrt(np.mean([np.mean(np.square(each, dtype=np.float64)) for each in errors])))
    scores = [np.mean([normal_crps(each, size * unit).mean() for each in errors]) for size in SIZES]
    return float(SIZES[int(np.argmin(scores))]) * unit


def fitted_sizes(sets: Iterable[FieldSet], model: Upscaler) -> dict[str, float]:
    """By variable, units of the variable, of what `model` leaves on the sets that are good for space."""
    found: defaultdict[str, defaultdict[str, list[Values]]] = defaultdict(lambda: defaultdict(list))
    for fields in sets:
        if is_scored(fields, model.contract):
            for name, error in errors_on(fields, model):
                found[name][fields.source].append(error)
    return {
        name: fitted_size([np.concatenate(each) for each in by_source.values()]) for name, by_source in found.items()
    }


def errors_on(fields: FieldSet, model: Upscaler) -> Iterator[tuple[str, Values]]:
    """(variable, some of the errors of the refined field) of a set that was coarsened as the model was trained."""
    contract = model.contract
    truth = truth_of(fields, contract.outputs)
    assert truth is not None  # `is_scored` asks for a variable of the model
    frames = truth.forecast.times.valid_times.size
    fine = truth.forecast
    with tempfile.TemporaryDirectory() as scratch, model.frames_alone() as alone:
        statics = None
        if not truth.on_earth:
            statics = Path(scratch) / "statics.nc"
            write_statics(fields, fine.grid, contract.scale_factor, statics)
        errors: defaultdict[str, list[Values]] = defaultdict(list)
        for index in np.unique(np.linspace(0, frames - 1, MOST_FRAMES).round().astype(int)):
            frame = fine.isel_time(slice(int(index), int(index) + 1))
            how = Coarsening(contract.registration, contract.scale_factor, time_factor=1, crop=True)
            refined = alone.upscale_forecast(coarsen(frame, how), Request(statics=statics))
            rows, columns = refined.grid.shape
            known = frame.select(refined.variables).load()[:, :, :rows, :columns]
            for channel, name in enumerate(refined.variables):
                off = (refined.values[:, channel] - known[:, channel]).ravel()
                errors[name].append(off[np.isfinite(off)])
    for name, parts in errors.items():
        every = np.concatenate(parts)
        if every.size:
            yield name, every[:: max(1, every.size // MOST_ERRORS)]


def dress(field: Values, size: float, members: int, seed: int) -> Values:
    """(M, ...) of `field` with Gaussian noise of that standard deviation, independent in every cell."""
    rng = np.random.default_rng(seed)
    dressed: Values = field + size * rng.standard_normal((members, *np.shape(field)))
    return dressed
