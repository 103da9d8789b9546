"""The upscaler from forecast to fine field: coordinates, tiling, masks, requests."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.forecast import Forecast, SourceLayout
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.solar import cos_solar_zenith
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import (
    MembersRefused,
    MemoryBudgetTooSmall,
    MissingVariable,
    NothingToUpscale,
    RegistrationMismatch,
    UsageError,
)
from gfs_sr.runtime.cf import Quality
from gfs_sr.runtime.planner import resident_now_bytes
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import MemorySink, open_sink
from gfs_sr.runtime.upscaler import Upscaler, parse_bytes
from tests.artifacts import make_repeat_artifact
from tests.forecasts import globe, make_forecast

SD = 17.0  # of t2m in the test artifact's normalization


def seed_forecast() -> Forecast:
    """24 by 24 coarse points, 8 frames, with values beyond the bounds between the points of r2 and wspd."""
    grid = Grid(40 - 1.5 * np.arange(24), 65 + 1.5 * np.arange(24))
    forecast = make_forecast(8, ("t2m", "r2", "wspd"), grid)
    values = forecast.load()
    checker = np.indices((24, 24)).sum(axis=0) % 3 == 0
    values[:, 1] = np.where(checker, 100.0, 2.0)
    values[:, 2] = np.where(checker, 30.0, 0.0)
    return Forecast.from_arrays(values, forecast.variables, grid, forecast.times)


@pytest.mark.parametrize(
    ("extent", "side", "frames", "south", "east"),
    [("hull", 139, 43, 5.5, 99.5), ("full", 144, 48, 4.25, 100.75), ("40,65,5,100", 141, 43, 5.0, 100.0)],
)
def test_s000_23_upscale_gives_cf_files_of_the_extent_asked_for(node, tmp_path, extent, side, frames, south, east):
    path = tmp_path / "fine.nc"
    node.run(seed_forecast(), open_sink(path), Request(extent=extent))
    with xr.open_dataset(path) as ds:
        assert ds["t2m"].shape == (frames, side, side)
        np.testing.assert_allclose(ds["lat"], np.linspace(40.0, south, side))
        np.testing.assert_allclose(ds["lon"], np.linspace(65.0, east, side))
        hours = np.arange(frames)
        np.testing.assert_array_equal(ds["time"], np.datetime64("2026-03-01T00", "ns") + hours * np.timedelta64(1, "h"))
        np.testing.assert_array_equal(ds["forecast_period"], hours)
        assert ds["r2"].max() <= 100.0
        assert ds["r2"].min() >= 0.0
        assert ds["wspd"].min() >= 0.0
        outside = (ds["quality_flag"].values & Quality.EXTRAPOLATED_IN_SPACE) > 0
        np.testing.assert_array_equal(outside[0], (ds["lat"].values[:, None] < 5.5) | (ds["lon"].values > 99.5))


def test_x_2_one_call_upscales_with_any_artifact(node_artifact, cell_artifact, sunny_artifact, tmp_path):
    repeat = make_repeat_artifact(tmp_path / "repeat")
    for artifact in (node_artifact, cell_artifact, sunny_artifact, repeat):
        forecast = make_forecast(3, ("t2m", "sp"), registration=None)
        dataset = xr.Dataset(
            {name: (("time", "lat", "lon"), forecast.load()[:, channel], {"units": units})
             for channel, (name, units) in enumerate([("t2m", "K"), ("sp", "Pa")])},
            {"time": forecast.times.valid_times, "lat": forecast.grid.lat, "lon": forecast.grid.lon},
        )  # fmt: skip
        dataset["lat"].attrs["units"], dataset["lon"].attrs["units"] = "degrees_north", "degrees_east"
        with Upscaler.open(artifact, threads=1) as upscaler:
            fine = upscaler.upscale(dataset)
            s = upscaler.contract.scale_factor
        assert set(fine.data_vars) >= {"t2m", "sp"}
        assert fine.sizes["lat"] >= s * (forecast.grid.lat.size - 1) + 1


def test_x_4_members_of_a_deterministic_model_are_refused_with_the_reason(node):
    with pytest.raises(MembersRefused, match="deterministic"):
        node.upscale_forecast(make_forecast(), Request(members=3))


def ramp(grid: Grid, frames: int) -> np.ndarray:
    return (
        280
        + 0.3 * np.arange(grid.shape[0])[:, None]
        + 0.2 * np.arange(grid.shape[1])
        + 0.5 * np.arange(frames)[:, None, None]
    )


@pytest.mark.parametrize("registration", list(Registration))
def test_a_ramp_in_space_and_time_is_exact_inside_the_hull(node, cell, registration):
    upscaler = node if registration is Registration.NODE else cell
    grid = Grid(50 - 1.0 * np.arange(9), 5 + 1.0 * np.arange(11))
    forecast = make_forecast(4, grid=grid)
    forecast = Forecast.from_arrays(ramp(grid, 4)[:, None], ("t2m",), grid, forecast.times)
    fine = upscaler.upscale_forecast(forecast)
    # by coordinates, so that a shift of the field against its coordinates shows
    rows, columns = 50 - fine.grid.lat, fine.grid.lon - 5
    hours = (fine.times.valid_times - forecast.times.valid_times[0]) / np.timedelta64(6, "h")
    exact = 280 + 0.3 * rows[:, None] + 0.2 * columns + 0.5 * hours[:, None, None]
    # the cubic kernel sees two points beyond a cell: where the edge rule replicates, a ramp is not a ramp
    inner = (slice(None), (rows >= 2) & (rows <= 6))
    error = (fine.values[:, 0] - exact)[inner][..., (columns >= 2) & (columns <= 8)]
    assert np.abs(error).max() < 1e-6 * 300


@pytest.mark.parametrize("tile", [1, 5, 7, 16, 40])
def test_outputs_agree_for_any_tile_on_a_global_field_with_poles(sunny, tile):
    forecast = make_forecast(3, ("t2m", "u10", "v10"), globe(6.0))
    whole = sunny.upscale_forecast(forecast)
    tiled = sunny.upscale_forecast(forecast, Request(tile=tile))
    assert tiled.summary.tile["lat"] == min(tile, 31)
    scale = np.array([17.0, 5.5, 5.0])[:, None, None]
    assert np.abs((tiled.values - whole.values) / scale).max() <= 1e-5


@pytest.mark.parametrize("memory", [400, 700])
def test_the_memory_budget_changes_tiles_but_not_values(node_artifact, memory):
    forecast = make_forecast(5, ("t2m", "sp"), globe(4.0))
    with Upscaler.open(node_artifact, threads=1) as upscaler:
        whole = upscaler.upscale_forecast(forecast)
        small = upscaler.upscale_forecast(forecast, Request(memory_bytes=resident_now_bytes() + (memory << 20)))
    assert np.abs(small.values - whole.values).max() <= 1e-5 * SD * 600


@pytest.mark.parametrize("roll", [1, 17, 36])
def test_rolling_the_longitudes_rolls_the_output(sunny, roll):
    forecast = make_forecast(2, ("t2m", "v10"), globe(5.0))
    grid = forecast.grid
    turned = Grid(grid.lat, np.concatenate([grid.lon[roll:], grid.lon[:roll] + 360]))
    rolled = Forecast.from_arrays(np.roll(forecast.load(), -roll, axis=-1), forecast.variables, turned, forecast.times)
    straight = sunny.upscale_forecast(forecast).values
    around = sunny.upscale_forecast(rolled).values
    assert np.abs(np.roll(around, 3 * roll, axis=-1) - straight).max() <= 1e-5 * SD


def test_a_box_holds_the_same_values_as_the_whole_field(node):
    forecast = make_forecast(2, ("t2m",), globe(5.0))
    whole = node.upscale_forecast(forecast)
    box = node.upscale_forecast(forecast, Request(extent="40,340,-40,30"))
    row = int(np.argmin(np.abs(whole.grid.lat - box.grid.lat[0])))
    column = int(np.argmin(np.abs(whole.grid.lon - 340)))
    expected = np.roll(whole.values, -column, axis=-1)[:, :, row : row + box.grid.lat.size, : box.grid.lon.size]
    np.testing.assert_allclose(box.values, expected, atol=1e-5 * SD)
    np.testing.assert_allclose(np.mod(box.grid.lon[[0, -1]], 360), [340, 30])


def test_latitudes_the_other_way_round_change_nothing_but_the_order(node):
    forecast = make_forecast(2)
    plain, turned = MemorySink(), MemorySink()
    node.run(forecast, plain)
    node.run(replace(forecast, layout=SourceLayout(lat_ascending=True)), turned)
    np.testing.assert_array_equal(turned.values[:, :, ::-1], plain.values)
    lat = {variable.name: variable.values for variable in turned.description.coordinates}["lat"]
    assert np.all(np.diff(lat) > 0)


@pytest.mark.parametrize("registration", list(Registration))
def test_masked_cells_stay_masked_and_do_not_leak(node, cell, registration):
    upscaler = node if registration is Registration.NODE else cell
    forecast = make_forecast(3, ("t2m", "sp"))
    clean = forecast.load()
    coarse_mask = np.zeros(forecast.grid.shape, bool)
    coarse_mask[3:6, 4:8] = coarse_mask[0, 0] = True
    values = clean.copy()
    values[:, 0, coarse_mask] = np.nan
    masked = Forecast.from_arrays(values, forecast.variables, forecast.grid, forecast.times)
    fine, unmasked = upscaler.upscale_forecast(masked), upscaler.upscale_forecast(forecast)
    # the nearest coarse point of every fine one, from their coordinates alone; a tie may go either way
    rows, columns = (50 - fine.grid.lat)[:, None], (fine.grid.lon - 5)[None, :]
    ties = np.isclose(np.mod(rows, 1), 0.5) | np.isclose(np.mod(columns, 1), 0.5)
    row, column = np.clip(np.rint(rows).astype(int), 0, 8), np.clip(np.rint(columns).astype(int), 0, 10)
    is_missing = np.isnan(fine.values[:, 0])
    assert ((is_missing == coarse_mask[row, column]) | ties).all()
    # the other variable has no mask, and cells that see no masked one are as if there were none
    np.testing.assert_array_equal(fine.values[:, 1], unmasked.values[:, 1])
    far = np.broadcast_to(rows > 7.6, is_missing.shape[1:])  # two rows are seen either side of a fine cell
    assert far.any()
    np.testing.assert_array_equal(fine.values[:, 0][:, far], unmasked.values[:, 0][:, far])


def test_a_single_frame_gives_a_single_frame(node):
    forecast = make_forecast(1)
    fine = node.upscale_forecast(forecast)
    assert fine.values.shape[0] == 1
    np.testing.assert_array_equal(fine.times.valid_times, forecast.times.valid_times)
    # the coarse points themselves, which an interpolation under NODE leaves as they are
    np.testing.assert_allclose(fine.values[0, 0, ::6, ::6], forecast.load()[0, 0], atol=1e-4)


def test_a_stream_gives_what_upscale_gives(sunny, node):
    for upscaler in (sunny, node):
        forecast = make_forecast(5, ("t2m", "wspd"))
        values = forecast.load()
        whole = upscaler.upscale_forecast(forecast)
        frames = list(
            upscaler.stream(zip(forecast.times.valid_times, values, strict=True), forecast.variables, forecast.grid)
        )
        np.testing.assert_array_equal([frame.valid_time for frame in frames], whole.times.valid_times)
        streamed = np.stack([frame.values for frame in frames])
        assert np.abs(streamed - whole.values).max() <= 1e-5 * SD


def test_a_stream_waits_for_its_look_ahead_and_no_longer(node):
    forecast = make_forecast(4)
    taken = []

    def source():
        for index, (valid_time, frame) in enumerate(zip(forecast.times.valid_times, forecast.load(), strict=True)):
            taken.append(index)
            yield valid_time, frame

    fine = node.stream(source(), forecast.variables, forecast.grid)
    next(fine)
    assert taken == [0, 1]  # the contract looks one frame ahead
    for _ in range(5):
        next(fine)
    assert taken == [0, 1]


def test_the_sun_is_where_it_is(sunny):
    grid = Grid(50 - 2.0 * np.arange(6), 350 + 2.0 * np.arange(7))
    forecast = make_forecast(3, grid=grid)
    flat = Forecast.from_arrays(np.full((3, 1, 6, 7), 281.0), ("t2m",), grid, forecast.times)
    fine = sunny.upscale_forecast(flat)
    expected = 281.0 + 0.01 * SD * cos_solar_zenith(fine.times.valid_times, fine.grid.lat, fine.grid.lon)
    np.testing.assert_allclose(fine.values[:, 0], expected, atol=1e-4)


def test_a_requested_variable_that_is_absent_is_named(node):
    with pytest.raises(MissingVariable, match="d2m"):
        node.upscale_forecast(make_forecast(), Request(variables=("t2m", "d2m")))


def test_a_requested_variable_the_model_does_not_give_is_named(node):
    with pytest.raises(MissingVariable, match="tp"):
        node.upscale_forecast(make_forecast(2, ("t2m", "tp")), Request(variables=("tp",)))


def test_what_cannot_be_upscaled_is_named_in_the_warnings(node):
    fine = node.upscale_forecast(make_forecast(2, ("t2m", "t@850")))
    assert fine.variables == ("t2m",)
    assert any("t@850" in warning for warning in fine.summary.warnings)


def test_nothing_to_upscale_is_an_error(node):
    with pytest.raises(NothingToUpscale):
        node.upscale_forecast(make_forecast(2, ("t@850",)))


def test_each_subset_gives_what_all_together_give(node):
    forecast = make_forecast(2, ("t2m", "sp", "u10"))
    together = node.upscale_forecast(forecast)
    for channel, name in enumerate(together.variables):
        alone = node.upscale_forecast(forecast, Request(variables=(name,)))
        sd = node.contract.normalization[name].sd
        assert np.abs(alone.values[:, 0] - together.values[:, channel]).max() <= 1e-5 * sd


@pytest.mark.parametrize("given", [Registration.CELL, None])
def test_data_of_the_other_registration_are_refused(node, given):
    forecast = make_forecast(2, registration=given)
    override = Registration.CELL if given is None else None
    with pytest.raises(RegistrationMismatch, match="cell"):
        node.upscale_forecast(forecast, Request(registration=override))


def test_registration_can_be_overridden_and_is_assumed_aloud_for_cells(node, cell):
    wrong = make_forecast(2, registration=Registration.CELL)
    node.upscale_forecast(wrong, Request(registration=Registration.NODE))
    silent = make_forecast(2)
    assert not any("register" in text for text in node.upscale_forecast(silent).summary.warnings)
    assert any("register" in text for text in cell.upscale_forecast(silent).summary.warnings)
    assert not any(
        "register" in text
        for text in cell.upscale_forecast(silent, Request(registration=Registration.CELL)).summary.warnings
    )


def test_an_untrained_interval_warns_and_flags(node):
    sink = MemorySink()
    summary = node.run(make_forecast(3, interval_hours=3), sink)
    assert any("every 3 h" in text for text in summary.warnings)
    assert (sink.flags & Quality.UNTRAINED_COARSE_INTERVAL).all()
    node.run(make_forecast(3), sink)
    assert not sink.flags.any()


def test_frames_outside_the_training_envelope_are_flagged_around_them(node):
    values = make_forecast(4).load()
    values[2] = 190.0  # within the table's bounds, below the artifact's training envelope
    forecast = make_forecast(4)
    sink = MemorySink()
    summary = node.run(Forecast.from_arrays(values, ("t2m",), forecast.grid, forecast.times), sink)
    flagged = (sink.flags & Quality.OUTSIDE_TRAINING_ENVELOPE).any(axis=(1, 2))
    # every fine frame that frame 2 takes part in
    np.testing.assert_array_equal(np.flatnonzero(flagged), np.arange(7, 18))
    assert any("1 of 4 frames" in text for text in summary.warnings)


def test_full_extent_is_flagged_in_time(node):
    sink = MemorySink()
    node.run(make_forecast(3), sink, Request(extent="full"))
    late = (sink.flags & Quality.EXTRAPOLATED_IN_TIME).all(axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(late), [13, 14, 15, 16, 17])


def test_a_memory_budget_too_small_is_refused_with_what_is_needed(node):
    with pytest.raises(MemoryBudgetTooSmall, match=r"needs \d+ MiB"):
        node.upscale_forecast(make_forecast(), Request(memory_bytes=1 << 20))


@pytest.mark.parametrize("halo", ["auto:1e-5", "7"])
def test_a_shorter_halo_is_refused_with_the_reason(node, halo):
    with pytest.raises(UsageError, match="not offered"):
        node.upscale_forecast(make_forecast(), Request(halo=halo))


@pytest.mark.parametrize(
    ("text", "size"), [("4GiB", 4 << 30), ("500MB", 500_000_000), (" 1.5 kib", 1536), ("1e9", 10**9), ("7b", 7)]
)
def test_amounts_of_memory_are_understood(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "0", "4GiBit", "nan", "inf"])
def test_other_amounts_are_refused(text):
    with pytest.raises(UsageError):
        parse_bytes(text)


def test_the_summary_says_what_was_done(node, tmp_path):
    summary = node.run(make_forecast(3), open_sink(tmp_path / "a.nc")).as_dict()
    assert summary["frames"] == 13
    assert summary["fine_cells"] == 13 * 49 * 61
    assert summary["exact"] is True
    assert set(summary["stage_seconds"]) == {"read", "gather", "infer", "scatter", "write"}
    assert summary["halo"] == {"time": [0, 1], "lat": [2, 2], "lon": [2, 2]}
    assert summary["peak_rss_bytes"] > 1 << 20


def test_times_that_repeat_every_hour_are_the_ones_of_the_file(node):
    times = TimeAxis.from_times(
        np.datetime64("2026-02-28T18"), np.datetime64("2026-03-01T00") + np.timedelta64(6, "h") * np.arange(3), "test"
    )
    forecast = make_forecast(3)
    late = Forecast.from_arrays(forecast.load(), ("t2m",), forecast.grid, times)
    fine = node.upscale_forecast(late)
    np.testing.assert_array_equal(fine.times.lead_hours, 6 + np.arange(13))
