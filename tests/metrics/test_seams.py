import numpy as np
import pytest

from gfs_sr.data.coarsen import Coarsening, TimeReduction, block_mean, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.metrics import registry
from gfs_sr.metrics.scene import Borders, Coarse
from tests import fields
from tests.metrics.scenes import exchangeable, rain, rough, scene


def seam(prediction, truth, **more):
    return registry.score(["seam ratio"], scene(prediction, truth, **more))["seam ratio"]


def test_a_forecast_with_the_truth_s_steps_has_no_seam():
    truth = fields.waves(2, 40, 60)
    assert seam(truth, truth, borders=Borders((16, 32), (16, 32, 48))) == pytest.approx(1)
    assert seam(truth + 7, truth, borders=Borders((16,), ())) == pytest.approx(1)


def test_noise_has_no_seam_wherever_the_borders_are():
    assert seam(rough(40, 64, 64), rough(40, 64, 64, seed=1), borders=Borders((16, 32, 48), (32,))) == pytest.approx(
        1, abs=0.02
    )


def test_a_step_between_tiles_shows_by_its_size():
    # steps of 1 everywhere in both directions; across the border at row 20 the forecast steps by 4
    truth = fields.ramp(1, 40, 40, per_cell=1.0)
    prediction = truth.copy()
    prediction[:, 20:] += 3
    assert seam(prediction, truth, borders=Borders((20,), ())) == pytest.approx(4)
    assert seam(prediction, truth, borders=Borders((10,), ())) == pytest.approx(39 / 42, rel=0.05)  # it lies elsewhere


def test_steps_beside_missing_cells_do_not_count():
    truth = fields.ramp(1, 20, 20)
    prediction = truth.copy()
    prediction[0, 10, 5] = np.nan
    assert seam(prediction, truth, borders=Borders((10,), (5,))) == pytest.approx(1)


def test_blocks_of_the_coarse_grid_show_and_are_found_where_the_scene_was_cut():
    truth = fields.ramp(1, 40, 40)
    blocky = np.repeat(np.repeat(truth[:, ::4, ::4], 4, axis=1), 4, axis=2) + 0.1 * truth
    how = Coarsening(Registration.CELL, 4, 1)
    for cut in (0, 3):
        where = Coarse(block_mean(truth, 4), how, -cut, -cut)
        found = registry.score(["block ratio"], scene(blocky[:, cut:, cut:], truth[:, cut:, cut:], coarse=where))
        assert found["block ratio"] == pytest.approx(41)  # (4 + 0.1)/0.1


def joins(prediction, truth, **more):
    return registry.score(["join ratio", "bend ratio"], scene(prediction, truth, time_factor=3, **more))


def test_a_jump_into_each_coarse_frame_is_a_join():
    truth = fields.ramp(13, 6, 7, per_frame=1.0)
    jumps = truth + (np.arange(13) // 3)[:, None, None]
    assert joins(jumps, truth)["join ratio"] == pytest.approx(2)
    assert joins(truth, truth)["join ratio"] == 1


def test_linear_interpolation_bends_at_coarse_frames():
    n = np.arange(19)[:, None, None]
    truth = np.cos(0.3 * n) + rough(6, 7)[None] + 0.01 * rough(19, 6, 7)
    frames, cells = np.arange(19), truth[::3].reshape(7, -1).T
    linear = np.stack([np.interp(frames, frames[::3], cell) for cell in cells], axis=-1).reshape(truth.shape)
    linear += 1e-3 * rough(19, 6, 7, seed=3)
    assert joins(linear, truth)["bend ratio"] > 10
    members, other = exchangeable(2, 19, 6, 7)
    assert joins(members, other)["bend ratio"] == pytest.approx(1, abs=0.15)


def test_the_frame_s_number_in_the_forecast_says_where_joins_are():
    truth = fields.ramp(13, 6, 7, per_frame=1.0)
    jumps = truth + (np.arange(13) // 3)[:, None, None]
    assert joins(jumps[1:], truth[1:], first_frame=1)["join ratio"] == pytest.approx(2)
    assert joins(jumps[1:], truth[1:])["join ratio"] < 1


def conservation(prediction, truth, coarse, variable="t2m", **more):
    where = scene(prediction, truth, coarse=coarse, variable=variable, grid=fields.grid(*truth.shape[-2:]), **more)
    return registry.score(["conservation error", "conservation bias"], where)


def test_a_field_with_the_coarse_means_conserves_and_a_shift_is_found():
    truth, grid = fields.waves(7, 24, 30), fields.grid(24, 30)
    how = Coarsening(Registration.CELL, 6, 3)
    coarse = Coarse(block_mean(truth[::3], 6, grid.weights()), how)
    kept = conservation(truth, truth, coarse)
    assert kept["conservation error"] == pytest.approx(0, abs=1e-12)
    moved = conservation(truth + 0.3, truth, coarse)
    assert moved["conservation error"] == pytest.approx(0.3)
    assert moved["conservation bias"] == pytest.approx(0.3)
    # what sums to nothing within every block is free
    stripes = np.tile([1.0, -1.0], 15)
    assert conservation(truth + stripes, truth, coarse)["conservation error"] == pytest.approx(0, abs=1e-12)


def test_only_whole_coarse_cells_of_a_cut_scene_count():
    truth, grid = fields.waves(1, 24, 30), fields.grid(24, 30)
    how = Coarsening(Registration.CELL, 6, 1)
    values = block_mean(truth, 6, grid.weights())
    spoilt = values.copy()
    spoilt[:, 0] = spoilt[:, :, -1] = 1e6  # cells that the cut below splits
    cut = scene(
        truth[:, 3:, :-2], truth[:, 3:, :-2], coarse=Coarse(spoilt, how, -3, 0), variable="t2m",
        grid=type(grid)(grid.lat[3:], grid.lon[:-2]),
    )  # fmt: skip
    assert registry.score(["conservation error"], cut)["conservation error"] == pytest.approx(0, abs=1e-9)


def test_under_node_the_blurred_field_gives_back_the_coarse_points_inside():
    truth = fields.waves(3, 61, 73)
    how = Coarsening(Registration.NODE, 6, 2)
    coarse = Coarse(gauss_decimate(truth[::2], how.sigma, 6), how)
    assert conservation(truth, truth, coarse)["conservation error"] == pytest.approx(0, abs=1e-12)
    assert conservation(truth - 2, truth, coarse)["conservation bias"] == pytest.approx(-2)


@pytest.mark.parametrize(
    ("variable", "time", "coarse_of"),
    [
        ("tp", TimeReduction.EVERY, lambda f: np.stack([f[0], f[1:4].sum(axis=0), f[4:7].sum(axis=0)])),
        ("t2m", TimeReduction.MEAN_FORWARD, lambda f: np.stack([f[0:3].mean(axis=0), f[3:6].mean(axis=0)])),
    ],
)
def test_buckets_of_time_are_summed_or_averaged_as_the_coarse_frames_were(variable, time, coarse_of):
    truth = rain(7, 12, 12)
    grid = fields.grid(12, 12)
    coarse = Coarse(block_mean(coarse_of(truth), 4, grid.weights()), Coarsening(Registration.CELL, 4, 3, time=time))
    assert conservation(truth, truth, coarse, variable)["conservation error"] == pytest.approx(0, abs=1e-12)
    # rain moved within its bucket is conserved, rain moved to the next is not
    inside, across = truth.copy(), truth.copy()
    inside[[4, 5]] = inside[[5, 4]]
    across[[3, 6]] = across[[6, 3]]
    assert conservation(inside, truth, coarse, variable)["conservation error"] == pytest.approx(0, abs=1e-12)
    assert conservation(across, truth, coarse, variable)["conservation error"] > 0.01
