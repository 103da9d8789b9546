"""Pictures of the errors of columns say what the lines hold."""

import numpy as np
import pytest
from PIL import Image

from crossvalidation import columns
from crossvalidation.column_pictures import ablation, by_level, draw, overturning
from crossvalidation.columns import ALL, ColumnLine

RMSE = {"bilinear": 2.2, "bicubic": 2.0, "sharpened": 1.9, "full": 1.6, "without prior": 1.7}


def line(source, variable, method, seed, rmse, unstable):
    return ColumnLine(
        source=source, variable=variable, method=method, seed=seed, frames=3, rmse=rmse, mae=rmse, ratio=rmse / 2,
        unstable=unstable, unstable_truth=0.08, gradient=0.0, coupling=0.0, crps=rmse, spread=0.0,
    )  # fmt: skip


@pytest.fixture
def lines():
    """Two sources, three levels, five methods, of which the networks have two seeds 0.04 K apart."""
    found = []
    for source in ("north", "south"):
        for turn, (method, rmse) in enumerate(RMSE.items()):
            for seed in (0, 1) if method in columns.VARIANTS else (-1,):
                values = {"t@1000": 3 * rmse, "t@850": 2 * rmse, "t@700": rmse, ALL: rmse}
                found += [
                    line(source, name, method, seed, value + 0.04 * (seed == 1), 0.02 * turn)
                    for name, value in values.items()
                ]
    return found


def test_levels_lie_as_in_the_air_and_the_least_error_is_named(lines):
    drawing = by_level(lines, "north")
    assert drawing.finding == "full errs least: 1.62 K over all levels, bicubic 2.00 K"
    (axis,) = drawing.figure.axes
    low, high = axis.get_ylim()
    assert low > high  # 1000 hPa is at the ground
    full = next(each for each in axis.lines if np.allclose(each.get_xdata()[-1], 3 * 1.6 + 0.02))
    np.testing.assert_allclose(full.get_ydata(), [700, 850, 1000])
    np.testing.assert_allclose(full.get_xdata(), [1.62, 3.22, 4.82])


def test_the_method_that_overturns_as_the_truth_is_named(lines):
    assert (
        overturning(lines).finding == "without prior overturns most as the truth does: 0.0% of the cells apart at most"
    )


def test_what_networks_differ_by_stands_beside_what_seeds_do(lines):
    # 0.1 K of 2 K, and the deviation of two seeds 0.04 K apart
    assert ablation(lines).finding == (
        "Networks differ by 5.0% of the error of bicubic at most; seeds of one have a deviation of up to 1.4%"
    )


def test_every_picture_is_a_file(lines, tmp_path):
    drawn = draw(lines, tmp_path / "figures")
    assert [path.name for path in drawn] == ["levels-north.png", "levels-south.png", "overturning.png", "ablation.png"]
    for path in drawn:
        with Image.open(path) as image:
            assert min(image.size) > 300
