import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.grid import Grid, Registration
from gfs_sr.errors import ShapeMismatch, UsageError
from gfs_sr.evaluation.evaluate import Settings, evaluate
from gfs_sr.evaluation.regions import Box, region_masks
from gfs_sr.evaluation.subject import interpolating
from tests.evaluation.test_evaluate import write_fine

NODE = Registration.NODE


def grid(height=40, width=60, north=60.0, west=-20.0, spacing=0.5):
    return Grid(north - spacing * np.arange(height), west + spacing * np.arange(width))


def test_a_box_holds_the_cells_between_its_edges():
    box = Box.parse("isles = 59, -11, 50, 2")
    mask = box.mask(grid())
    lat, lon = np.meshgrid(grid().lat, grid().lon, indexing="ij")
    np.testing.assert_array_equal(mask, (lat <= 59) & (lat >= 50) & (lon >= -11) & (lon <= 2))
    assert box.name == "isles"


def test_a_box_may_cross_the_date_line_and_longitudes_may_run_either_way():
    pacific = Box.parse("pacific=10,170,-10,-170")
    axis = np.arange(0.0, 360.0, 5.0)
    everywhere = Grid(np.array([5.0, 0.0]), axis)
    assert axis[pacific.mask(everywhere)[0]].tolist() == [170.0, 175.0, 180.0, 185.0, 190.0]
    assert Box.parse("world=90,-180,-90,180").mask(everywhere).all()


@pytest.mark.parametrize("text", ["60,-10,50,2", "isles=60,-10,50", "isles=50,-10,60,2", "all=60,-10,50,2", "=1,2,0,4"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(UsageError, match="is no region"):
        Box.parse(text)


def test_terrain_gives_land_sea_and_heights_that_share_the_land():
    masks = region_masks(grid(), (), None, by_terrain=True)
    assert next(iter(masks)) == "all"
    assert not (masks["land"] & masks["sea"]).any()
    assert (masks["land"] | masks["sea"]).all()
    heights = [mask for name, mask in masks.items() if name.startswith("height")]
    assert (np.sum(heights, axis=0) <= masks["land"]).all()
    isles, atlantic = np.s_[14, 37], np.s_[2, 4]  # 53 N, 1.5 W; 59 N, 18 W
    assert masks["land"][isles]
    assert masks["sea"][atlantic]


def test_the_user_s_statics_are_taken_on_the_truth_s_cells_and_refused_elsewhere(tmp_path):
    axes = {
        "lat": ("lat", grid().lat[::-1], {"units": "degrees_north"}),
        "lon": ("lon", grid().lon, {"units": "degrees_east"}),
    }
    land = np.zeros((40, 60))
    land[:, 30:] = 1
    xr.Dataset(
        {
            "orog": (("lat", "lon"), (300.0 * land)[::-1], {"units": "m", "standard_name": "surface_altitude"}),
            "lsm": (("lat", "lon"), land[::-1], {"units": "1", "standard_name": "land_binary_mask"}),
        },
        axes,
    ).to_netcdf(tmp_path / "statics.nc")
    part = Grid(grid().lat[3:30], grid().lon[5:50])
    masks = region_masks(part, (), tmp_path / "statics.nc", by_terrain=True)
    np.testing.assert_array_equal(masks["land"], land[3:30, 5:50] == 1)
    np.testing.assert_array_equal(masks["height 200-500 m"], masks["land"])
    assert "height 0-200 m" not in masks
    beside = Grid(grid().lat[3:30] + 0.1, grid().lon[5:50])
    with pytest.raises(ShapeMismatch, match="do not lie on the truth's cells"):
        region_masks(beside, (), tmp_path / "statics.nc", by_terrain=True)


def test_scores_of_a_region_are_those_of_its_cells(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    box = Box.parse("west=50,5,43,9")
    settings = Settings((path,), regions=(box,), by_terrain=False, metrics=("correlation",), tasks=("space",))
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), settings)
    whole, west = (
        {line.lead_class: line for line in evaluation.lines(region)}["interpolated"] for region in ("all", "west")
    )
    assert evaluation.regions() == ["all", "west"]
    assert west.rmse != whole.rmse
    with xr.open_dataset(path) as opened:
        truth = opened["t2m"].to_numpy().astype(np.float64)[::6]
    from gfs_sr.data.coarsen import gauss_decimate
    from gfs_sr.data.interpolation import BASELINES

    coarse = gauss_decimate(truth, 3.0, 6).astype(np.float32)
    fine = np.stack([BASELINES["bicubic/linear"](frame[None], 6, 1, NODE)[0, :31, :37] for frame in coarse])
    chosen = np.s_[:, :29, :17]
    area = np.cos(np.deg2rad(50 - 0.25 * np.arange(29)))[:, None]
    error = (fine.astype(np.float32) - truth)[chosen]
    expected = np.sqrt(np.average((error**2).mean(axis=0), weights=np.broadcast_to(area, (29, 17))))
    assert west.rmse == pytest.approx(expected, rel=1e-5)
    p, y = fine[chosen].ravel(), truth[chosen].ravel()
    w = np.broadcast_to(area, (3, 29, 17)).ravel()
    covariance = np.cov(p, y, aweights=w)
    (score,) = [
        each.value
        for each in evaluation.scores()
        if each.metric == "correlation" and each.region == "west" and each.is_model
    ]
    assert score == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-5)


def test_missing_cells_of_a_region_weigh_nothing(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    with xr.open_dataset(path) as opened:
        holed = opened.load()
    holed["t2m"][:, 4:9, 5:12] = np.nan
    holed.to_netcdf(path)
    settings = Settings((path,), regions=(Box.parse("west=50,5,43,9"),), by_terrain=False, metrics=(), tasks=("space",))
    subject = interpolating("bicubic/linear", 6, 6, NODE)
    evaluation = evaluate(subject, settings)
    (contest,) = evaluation.cases[0].contests.values()
    area = np.cos(np.deg2rad(50 - 0.25 * np.arange(31)))
    valid = np.ones((31, 37))
    valid[4:9, 5:12] = 0
    expected = [(valid * area[:, None]).sum(), (valid * area[:, None])[:29, :17].sum()]
    weight = contest.by_region[subject.name][0, :, 0]
    np.testing.assert_allclose(weight / weight[0], np.array(expected) / expected[0], rtol=1e-6)
    blocks = contest.by_block[subject.name]
    np.testing.assert_allclose(blocks[..., 0].sum(axis=(0, 2)), contest.by_region[subject.name][..., 0].sum(axis=0))
