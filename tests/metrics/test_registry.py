from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gfs_sr.data.coarsen import Coarsening, block_mean
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import VARIABLES, TimeKind
from gfs_sr.errors import UsageError
from gfs_sr.metrics import registry
from gfs_sr.metrics.ranges import RANGES
from gfs_sr.metrics.scene import Borders, Coarse, Need, Scene
from tests import fields
from tests.metrics.scenes import rain, rough


def everything(variable, truth, prediction):
    """A scene that can answer every metric of its variable."""
    grid = fields.grid(*truth.shape[1:])
    how = Coarsening(Registration.CELL, 6, 3)
    # amounts of a coarse frame are those of the fine ones it ends
    buckets = (
        np.stack([truth[max(0, k - 2) : k + 1].sum(axis=0) for k in (0, 3, 6)]) if variable == "tp" else truth[::3]
    )
    coarse = Coarse(block_mean(buckets, 6, grid.weights(), crop=True), how)
    alone = Scene(
        prediction, truth, grid.weights()[:, None], registry.percentile_range(truth), variable=variable, grid=grid,
        scale_factor=6, time_factor=3, reference=truth + 1, coarse=coarse, borders=Borders((30,), (36,)),
    )  # fmt: skip
    return replace(alone, partner=alone)


@pytest.fixture(params=["t2m", "tp"])
def answering(request):
    truth = rain(7, 67, 70) if request.param == "tp" else 283 + 3 * fields.waves(7, 67, 70) + 0.2 * rough(7, 67, 70)
    members = np.stack([np.maximum(truth + 0.5 * rough(7, 67, 70, seed=seed), 0) for seed in (1, 2, 3)])
    return everything(request.param, truth, members)


def test_a_scene_that_has_everything_answers_every_metric(answering):
    wanted = registry.metrics_of(answering.variable)
    lacking = {name for name, metric in wanted.items() if Need.AMOUNT in metric.needs and answering.variable != "tp"}
    assert set(registry.available(answering)) == set(wanted) - lacking


def test_rows_of_chunks_are_those_of_the_whole(answering):
    offered = registry.available(answering)
    # what joins frames, or fills buckets of them, needs the forecast in one piece
    names = [n for n, m in offered.items() if not m.needs & {Need.FRAMES, Need.COARSE, Need.TIME_FACTOR}]
    whole = registry.tally(names, answering)
    for start, stop in pairwise((0, 2, 3, 7)):
        cut = replace(
            answering, prediction=answering.prediction[:, start:stop], truth=answering.truth[start:stop],
            reference=answering.reference[start:stop], first_frame=start,
        )  # fmt: skip
        cut = replace(cut, partner=cut)
        for key, rows in registry.tally(names, cut).items():
            assert_allclose(rows, whole[key][start:stop], rtol=1e-12, err_msg=key)


def test_values_are_vectorized_over_rows(answering):
    offered = registry.available(answering)
    rows = registry.tally(offered, answering)
    for name, metric in offered.items():
        table = rows[metric.statistic.key]
        one_by_one = [metric.value(row) for row in table]
        assert_allclose(metric.value(table), one_by_one, rtol=1e-12, err_msg=name)
        assert metric.value(table[None, :2]).shape == (1, 2), name


def test_what_a_forecast_has_where_the_truth_misses_changes_no_score(answering):
    truth = answering.truth.copy()
    truth[:, 20:24, 30:33] = np.nan
    truth[2] = np.nan
    found = []
    for garbage in (0.0, 1e4, np.nan):
        spoilt = replace(answering, prediction=np.where(np.isnan(truth), garbage, answering.prediction), truth=truth)
        spoilt = replace(spoilt, partner=spoilt)
        found.append(registry.tally(registry.available(spoilt), spoilt))
    for key, rows in found[0].items():
        assert_allclose(found[1][key], rows, rtol=1e-12, err_msg=key)
        assert_allclose(found[2][key], rows, rtol=1e-12, err_msg=key)


BEST = {"lower": (0.0,), "higher": (1.0, np.inf), "zero": (0.0,), "one": (1.0,)}


@pytest.mark.parametrize("variable", ["t2m", "tp", "wspd", "q"])
def test_a_perfect_forecast_has_the_best_value_of_every_metric(variable):
    truth = rain(7, 67, 70) if variable == "tp" else 283 + 3 * fields.waves(7, 67, 70)
    perfect = everything(variable, truth, truth)
    probability = {"Brier score", "unreliability"}  # of a neighborhood: the truth itself is not certain
    for name, metric in registry.available(perfect).items():
        if metric.title in probability or name == "effective resolution":
            continue
        value = metric.score(perfect)
        if np.isnan(value):
            assert metric.group in ("neighborhoods", "events", "distributions"), name
            continue
        assert any(value == pytest.approx(best, abs=1e-6) for best in BEST[metric.better]), name


def test_every_metric_says_what_it_is():
    for variable in (None, *RANGES):
        for name, metric in registry.metrics_of(variable).items():
            assert metric.explanation.endswith((".", "?")), name
            assert "{" not in metric.units_of("K"), name
            assert metric.name == name


def test_units_follow_the_variable():
    table = registry.metrics_of("t2m")
    assert table["RMSE"].units_of("K") == "K"
    assert table["gradient RMSE"].units_of("K") == "K (100 km)-1"
    assert table["RALSD"].units_of("K") == "dB"
    assert table["SSIM"].units_of("K") == "1"


def test_every_variable_of_the_atmosphere_has_thresholds_or_is_known_to_lack_them():
    lacking = {name for name, row in VARIABLES.items() if row.time_kind is not TimeKind.STATIC} - set(RANGES)
    assert lacking == {"w", "z", "vo"}
    for name, ranges in RANGES.items():
        low, high = VARIABLES[name].bounds
        assert all(low <= threshold <= high for threshold in ranges.thresholds), name


def test_levels_have_the_thresholds_of_their_variable():
    assert "FSS >= 273.15 @ 4 cells" in registry.metrics_of("t@850")


def test_what_a_scene_lacks_is_named():
    bare = Scene(rough(2, 8, 8), rough(2, 8, 8), None, 1.0)
    with pytest.raises(UsageError, match="metric 'CRPS' needs what the scene does not have: members"):
        registry.score(["CRPS"], bare)
    with pytest.raises(UsageError, match="unknown metric 'RSME'"):
        registry.tally(["RSME"], bare)
    assert bare.has == {Need.FRAMES}


def test_lazy_arrays_are_read_a_frame_at_a_time():
    array = pytest.importorskip("dask.array")
    x, y = rough(3, 4, 12, 13), rough(4, 12, 13, seed=1)
    lazy = Scene(array.from_array(x, chunks=(3, 1, 12, 13)), array.from_array(y, chunks=(1, 12, 13)), None, 1.0)
    names = ["RMSE", "CRPS", "FSS highest 10% @ 4 cells"]
    assert registry.score(names, lazy) == registry.score(names, Scene(x, y, None, 1.0))


def test_sums_are_computed_where_the_chunk_lies():
    dask = pytest.importorskip("dask")
    x, y = rough(6, 12, 13), rough(6, 12, 13, seed=1)
    names = ("RMSE", "correlation", "RALSD")
    chunks = [dask.delayed(registry.tally)(names, Scene(x[k : k + 2], y[k : k + 2], None, 1.0)) for k in (0, 2, 4)]
    found = dask.compute(*chunks, scheduler="threads")
    summed = {key: np.concatenate([rows[key] for rows in found]).sum(axis=0) for key in found[0]}
    assert registry.values(names, summed) == pytest.approx(registry.score(names, Scene(x, y, None, 1.0)))
