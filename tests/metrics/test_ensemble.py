import tracemalloc

import numpy as np
import properscoring
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scores.probability import crps_for_ensemble

from gfs_sr.metrics import ensemble, registry
from gfs_sr.metrics.pooling import SIZES
from gfs_sr.metrics.scene import Scene
from tests.metrics.scenes import exchangeable, rough, scene


def by_definition(members, truth, pairs):
    apart = np.abs(members[:, None] - members[None]).sum(axis=(0, 1))
    return np.abs(members - truth).mean(axis=0) - apart / (2 * pairs)


@pytest.mark.parametrize("members", [2, 5, 16])
def test_s004_21_crps_agrees_with_properscoring_and_scores(members):
    x, y = exchangeable(members, 7, 9)
    assert_allclose(ensemble.crps(x, y, fair=False), properscoring.crps_ensemble(y, x, axis=0), atol=1e-12)
    for fair, method in ((True, "fair"), (False, "ecdf")):
        expected = crps_for_ensemble(
            xr.DataArray(x, dims=("member", "lat", "lon")), xr.DataArray(y, dims=("lat", "lon")), "member",
            method=method, preserve_dims="all",
        )  # fmt: skip
        assert_allclose(ensemble.crps(x, y, fair), expected.values, atol=1e-12)


def test_crps_is_that_of_its_definition():
    x, y = exchangeable(4, 3, 5)
    assert_allclose(ensemble.crps(x, y), by_definition(x, y, 4 * 3), atol=1e-12)
    assert_allclose(ensemble.crps(x, y, fair=False), by_definition(x, y, 16), atol=1e-12)


def test_crps_of_many_normal_members_is_that_of_the_normal_distribution():
    # Gneiting et al. 2005 (MWR 133), at the mean: sigma (2 φ(0) - 1/√π)
    x = rough(400_000, 1)
    expected = 2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi)
    assert ensemble.crps(x, np.zeros(1))[0] == pytest.approx(expected, abs=3e-3)  # sampling: 1/√400000


def test_fair_crps_does_not_reward_more_members():
    small, truth = exchangeable(2, 400, 500)
    large, _ = exchangeable(8, 400, 500)
    truths = (truth, exchangeable(8, 400, 500)[1])
    fair = [ensemble.crps(x, y).mean() for x, y in zip((small, large), truths, strict=True)]
    plain = [ensemble.crps(x, y, fair=False).mean() for x, y in zip((small, large), truths, strict=True)]
    assert fair[0] == pytest.approx(fair[1], abs=5e-3)  # 200,000 cells
    assert plain[0] > plain[1] + 0.1


def test_crps_of_one_member_is_its_error_and_has_no_fair_form():
    x, y = exchangeable(1, 4, 5)
    assert_allclose(ensemble.crps(x, y, fair=False), np.abs(x[0] - y))
    assert np.isnan(ensemble.crps(x, y)).all()


def test_s004_21_energy_score_of_one_member_is_the_norm_of_its_error():
    x, y = exchangeable(1, 6, 7)
    weights = np.linspace(1, 2, 6)[:, None]
    expected = np.sqrt(np.average((x[0] - y) ** 2, weights=np.broadcast_to(weights, y.shape)))
    assert ensemble.energy_score(x, y, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("fair", [True, False])
def test_energy_score_is_that_of_its_definition(fair):
    x, y = exchangeable(5, 6, 7)
    norm = lambda field: np.sqrt((field**2).mean())  # noqa: E731
    apart = sum(norm(a - b) for a in x for b in x)
    expected = np.mean([norm(a - y) for a in x]) - apart / (2 * (20 if fair else 25))
    assert ensemble.energy_score(x, y, fair=fair) == pytest.approx(expected, abs=1e-10)


def test_energy_score_of_a_single_cell_is_its_crps():
    x, y = exchangeable(6, 1, 1)
    assert ensemble.energy_score(x, y) == pytest.approx(float(ensemble.crps(x, y)[0, 0]), abs=1e-10)


def test_energy_score_leaves_missing_cells_out():
    x, y = exchangeable(3, 4, 6)
    holed = y.copy()
    holed[:, 3:] = np.nan
    assert ensemble.energy_score(x, holed) == pytest.approx(ensemble.energy_score(x[..., :3], y[:, :3]), abs=1e-12)
    assert np.isnan(ensemble.energy_score(x, np.full_like(y, np.nan)))


@pytest.mark.parametrize("members", [2, 5, 20])
def test_spread_equals_skill_for_exchangeable_members(members):
    x, y = exchangeable(members, 4, 150, 200)
    # without (M + 1)/M two members would give 0.82
    assert registry.score(["spread-skill ratio"], scene(x, y))["spread-skill ratio"] == pytest.approx(1, abs=0.01)


def test_spread_and_error_of_the_mean_are_numpy_s():
    x, y = exchangeable(4, 2, 5, 6)
    found = registry.score(["spread", "RMSE of the mean"], scene(x, y))
    assert found["spread"] == pytest.approx(np.sqrt(1.25 * x.var(axis=0, ddof=1).mean()), abs=1e-12)
    assert found["RMSE of the mean"] == pytest.approx(np.sqrt(((x.mean(axis=0) - y) ** 2).mean()), abs=1e-12)


@pytest.mark.parametrize("size", [1, *SIZES])
@pytest.mark.parametrize("how", ["mean", "max"])
def test_s004_21_crps_and_energy_score_of_pooled_members_are_those_of_the_pooled_fields(how, size):
    x, y = exchangeable(3, 64, 128)
    blocks = lambda f: f.reshape(*f.shape[:-2], 64 // size, size, 128 // size, size)  # noqa: E731
    reduce = np.mean if how == "mean" else np.max
    px, py = (reduce(blocks(f), axis=(-3, -1)) for f in (x, y))
    suffix = "" if size == 1 else f" @ {how} {size}"
    found = registry.score([f"CRPS{suffix}", f"CRPS of the members{suffix}", f"energy score{suffix}"], scene(x, y))
    assert found[f"CRPS{suffix}"] == pytest.approx(by_definition(px, py, 6).mean(), abs=1e-6)
    assert found[f"CRPS of the members{suffix}"] == pytest.approx(by_definition(px, py, 9).mean(), abs=1e-6)
    assert found[f"energy score{suffix}"] == pytest.approx(ensemble.energy_score(px, py), abs=1e-9)


def test_members_are_scored_within_the_memory_of_a_few_frames():
    x = np.broadcast_to(rough(16, 1, 96, 96).astype(np.float32), (16, 12, 96, 96))
    y = np.broadcast_to(rough(1, 96, 96, seed=5).astype(np.float32), (12, 96, 96))
    members = Scene(x, y, None, 1.0)
    frame_bytes = 16 * 96 * 96 * 8
    for name in ("CRPS", "energy score", "spread", "rank flatness", "CRPS @ mean 16"):
        tracemalloc.start()
        registry.score([name], members)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * frame_bytes, name  # M² fields would be 16 of them


def test_ensemble_scores_are_refused_for_a_single_forecast():
    single = scene(rough(8, 9), rough(8, 9, seed=1))
    assert not {"CRPS", "energy score", "spread", "rank flatness"} & set(registry.available(single))
