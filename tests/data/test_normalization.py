import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.normalization import PRESETS, Statistics
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import MissingVariable, ShapeMismatch
from tests import fields

NAMES = ("t2m", "sp")


def parts():
    generator = np.random.Generator(np.random.PCG64(1))
    for size in (1, 5, 3):
        block = np.stack([280 + 15 * generator.normal(size=(size, 4, 7)), 1e5 + generator.normal(size=(size, 4, 7))], 1)
        yield block.astype(np.float32)


def test_s000_04_statistics_over_files_equal_those_of_the_concatenation():
    statistics = Statistics.empty(NAMES)
    for block in parts():
        statistics = statistics.update(block)
    everything = np.concatenate(list(parts())).astype(np.float64)
    assert_allclose(statistics.mean, everything.mean(axis=(0, 2, 3)), rtol=1e-9)
    assert_allclose(statistics.sd, everything.std(axis=(0, 2, 3)), rtol=1e-9)


def test_s000_04_statistics_of_real_frames(shared_data):
    day = open_forecast([shared_data / "series" / "era5_uk_t2m_hourly_20190301-20.grib"]).isel_time(slice(0, 6))
    statistics = Statistics.empty(day.variables)
    for k in range(6):
        statistics = statistics.update(day.frame(k))
    values = day.load().astype(np.float64)
    assert_allclose(statistics.mean, values.mean(axis=(0, 2, 3)), rtol=1e-9)
    assert_allclose(statistics.sd, values.std(axis=(0, 2, 3)), rtol=1e-9)


def test_s000_04_there_and_back_within_a_millionth():
    preset = PRESETS["gfs-india-025"]
    x = preset.mean[:, None, None] + preset.sd[:, None, None] * fields.waves(5, 6, 7)
    assert_allclose(preset.invert(preset.apply(x)), x, rtol=1e-12)
    z = preset.apply(preset.invert(x))
    assert_allclose(z, x, rtol=0, atol=1e-6 * np.abs(x).max())


def test_statistics_merge_in_any_order():
    blocks = [Statistics.empty(NAMES).update(block) for block in parts()]
    forward, backward = blocks[0].merge(blocks[1]).merge(blocks[2]), blocks[2].merge(blocks[1].merge(blocks[0]))
    assert_allclose(forward.mean, backward.mean, rtol=1e-12)
    assert_allclose(forward.sd, backward.sd, rtol=1e-10)


def test_missing_values_are_not_counted():
    values = np.array([1.0, np.nan, 3.0, np.nan]).reshape(1, 1, 4)
    statistics = Statistics.empty(("t2m",)).update(values)
    assert statistics.count[0] == 2
    assert statistics.mean[0] == 2.0
    assert statistics.sd[0] == 1.0


def test_json_keeps_every_digit():
    statistics = Statistics.empty(NAMES).update(next(parts()))
    again = Statistics.from_json(statistics.to_json())
    assert again.variables == NAMES
    assert_array_equal(again.squares, statistics.squares)
    assert_array_equal(again.mean, statistics.mean)


def test_the_preset_holds_the_published_figures():
    preset = PRESETS["gfs-india-025"].select(("sp", "t2m"))
    assert preset.mean.tolist() == [89060.83222720977, 293.0729197700678]
    assert_allclose(preset.sd, [16580.295624282222, 13.56529365759948], rtol=1e-15)


def test_the_spread_is_widened_by_a_millionth():
    one = Statistics.from_mean_sd({"t2m": (0.0, 1.0)})
    assert one.apply(np.ones((1, 1, 1)))[0, 0, 0] == pytest.approx(1 / (1 + 1e-6), rel=1e-12)


def test_other_variables_are_refused():
    with pytest.raises(MissingVariable, match="no statistics for d2m"):
        Statistics.empty(NAMES).select(("d2m",))
    with pytest.raises(ShapeMismatch):
        Statistics.empty(NAMES).update(np.zeros((3, 4, 4)))
    with pytest.raises(ShapeMismatch):
        Statistics.empty(NAMES).merge(Statistics.empty(("sp", "t2m")))
