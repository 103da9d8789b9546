"""What every sink must do; a sink's test subclasses this."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.forecast import SourceLayout
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.runtime.cf import describe
from gfs_sr.runtime.sink import open_sink

SHAPE = (13, 9, 14)  # frames, rows, columns
BLOCK = (6, 4, 14)


def description(*, lat_ascending: bool = False):
    grid = Grid(50 - 0.25 * np.arange(SHAPE[1]), 355 + 0.25 * np.arange(SHAPE[2]))
    times = TimeAxis(np.datetime64("2026-01-01"), np.datetime64("2026-01-02") + np.timedelta64(1, "h") * np.arange(13))
    layout = SourceLayout({"t2m": "temp"}, "latitude", "longitude", lat_ascending, -180.0)
    return describe(
        ("t2m", "wspd"), layout, grid, times,
        registration=Registration.NODE, bucket_step=None, provenance={"title": "a test"},
    )  # fmt: skip


def fields():
    values = np.random.default_rng(1).normal(280, 10, (SHAPE[0], 2, *SHAPE[1:])).astype(np.float32)
    values[3, 0, 2, 5] = np.nan
    flags = np.zeros((SHAPE[0], *SHAPE[1:]), np.uint8)
    flags[-1] = 2
    return values, flags


def write_all(sink, values, flags):
    for frame in range(0, SHAPE[0], BLOCK[0]):
        for row in range(0, SHAPE[1], BLOCK[1]):
            part = np.ascontiguousarray(values[frame : frame + BLOCK[0], :, row : row + BLOCK[1]])
            sink.write(frame, row, part, flags[frame : frame + BLOCK[0], row : row + BLOCK[1]])


def fail_after_one_block(sink, values, flags):
    with sink:
        sink.open(description(), BLOCK)
        sink.write(0, 0, values[:6, :, :4], flags[:6, :4])
        raise RuntimeError("on the way")


class SinkSuite:
    suffix = ""

    @pytest.fixture
    def target(self, tmp_path) -> Path:
        return tmp_path / f"fine{self.suffix}"

    @pytest.mark.parametrize("lat_ascending", [False, True])
    def test_what_was_written_is_read_back(self, target, lat_ascending):
        values, flags = fields()
        with open_sink(target) as sink:
            sink.open(description(lat_ascending=lat_ascending), BLOCK)
            write_all(sink, values, flags)
            sink.commit()
        with xr.open_dataset(target) as ds:
            rows = slice(None, None, -1) if lat_ascending else slice(None)
            np.testing.assert_array_equal(ds["temp"].values[:, rows], values[:, 0])
            np.testing.assert_array_equal(ds["wspd"].values[:, rows], values[:, 1])
            np.testing.assert_array_equal(ds["quality_flag"].values[:, rows], flags)
            np.testing.assert_allclose(ds["latitude"].values[rows], 50 - 0.25 * np.arange(9))
            np.testing.assert_allclose(ds["longitude"].values, -5 + 0.25 * np.arange(14))
            assert ds["time"].values[1] == np.datetime64("2026-01-02T01")
            assert ds["forecast_period"].values[0] == 24.0

    def test_nothing_is_at_the_target_before_commit(self, target):
        values, flags = fields()
        with open_sink(target) as sink:
            sink.open(description(), BLOCK)
            write_all(sink, values, flags)
            assert not target.exists()
            assert sink.partial.exists()
            sink.commit()
        assert target.exists()
        assert not sink.partial.exists()

    def test_an_error_leaves_nothing(self, target):
        values, flags = fields()
        with pytest.raises(RuntimeError, match="on the way"):
            fail_after_one_block(open_sink(target), values, flags)
        assert list(target.parent.iterdir()) == []

    def test_a_failed_run_leaves_an_older_output_as_it_was(self, target):
        values, flags = fields()
        with open_sink(target) as sink:
            sink.open(description(), BLOCK)
            write_all(sink, values, flags)
            sink.commit()
        with pytest.raises(RuntimeError, match="on the way"):
            fail_after_one_block(open_sink(target), values.copy(), flags)
        with xr.open_dataset(target) as ds:
            np.testing.assert_array_equal(ds["wspd"].values, values[:, 1])

    def test_a_new_output_replaces_an_older_one_and_a_dead_partial(self, target):
        values, flags = fields()
        (target.parent / f"{target.name}.partial").write_text("left by a kill")
        for shift in (0.0, 1.0):
            with open_sink(target) as sink:
                sink.open(description(), BLOCK)
                write_all(sink, values + np.float32(shift), flags)
                sink.commit()
        with xr.open_dataset(target) as ds:
            np.testing.assert_array_equal(ds["wspd"].values, values[:, 1] + np.float32(1))
        assert [path.name for path in target.parent.iterdir()] == [target.name]

    def test_digits_are_kept_and_files_shrink(self, target):
        values, flags = fields()
        sizes = []
        for digits in (None, 3):
            with open_sink(target, digits) as sink:
                sink.open(description(), BLOCK)
                write_all(sink, values.copy(), flags)
                sink.commit()
            sizes.append(sum(path.stat().st_size for path in [target, *target.rglob("*")] if path.is_file()))
        with xr.open_dataset(target) as ds:
            # half a unit of the third digit, for any leading digit
            np.testing.assert_allclose(ds["wspd"].values, values[:, 1], rtol=0.5e-3)
            assert not np.array_equal(ds["wspd"].values, values[:, 1])
        assert sizes[0] - sizes[1] > 0.2 * values.nbytes  # 13 of 32 random bits are gone
