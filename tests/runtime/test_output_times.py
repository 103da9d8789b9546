"""Fields at any times between frames: which, where they stand, and what becomes of the frames themselves."""

from dataclasses import replace

import numpy as np
import pytest

from export.publication import publish
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.errors import UsageError
from gfs_sr.runtime.output_times import OutputTimes
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import MemorySink
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint
from tests.forecasts import globe, make_forecast

NARROW = {"family": "temdeep_narrow", "width": 6, "variables": ["t2m", "sp"]}
HOUR = np.timedelta64(3600 * 10**9, "ns")
START = np.datetime64("2026-03-01T00", "ns")
SD = np.array([17.0, 9500.0])  # of t2m and sp, about
ROUNDING = 3e-5 * SD[:, None, None]  # a fp32 temperature has steps of 3e-5 K; sums in another order move some


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    """Its weights are shaken: what it gives between the frames is no straight line."""
    target = tmp_path_factory.mktemp("timed") / "narrow"
    publish(make_checkpoint(NARROW, spread=0.1), target)
    with Upscaler.open(target, backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def forecast():
    return make_forecast(4, ("t2m", "sp"), Grid(50 - 1.0 * np.arange(13), 5 + 1.0 * np.arange(17)))


def hours(fine) -> np.ndarray:
    return (fine.times.valid_times - START) / HOUR


def shares(*values: float) -> OutputTimes:
    return OutputTimes("fractions", shares=values)


@pytest.mark.parametrize("r", [2, 3, 6, 7])
def test_s001_12_one_model_gives_any_number_of_fields_per_interval(upscaler, forecast, r):
    fine = upscaler.upscale_forecast(forecast, Request(times=shares(*(m / r for m in range(r)))))
    assert fine.values.shape == (3 * r + 1, 2, 13, 17)
    np.testing.assert_allclose(hours(fine), 6 / r * np.arange(3 * r + 1), rtol=0, atol=1e-9)


def test_s001_12_a_list_of_fractions_gives_these_of_every_interval(upscaler, forecast):
    fine = upscaler.upscale_forecast(forecast, Request(times=OutputTimes.parse("0.1, 0.37")))
    expected = [6 * (interval + share) for interval in range(3) for share in (0.1, 0.37)]
    np.testing.assert_allclose(hours(fine), expected, rtol=0, atol=1e-6)
    finer = upscaler.upscale_forecast(forecast, Request(times=shares(0.1, 0.2, 0.37)))
    assert (np.abs(fine.values - finer.values[[0, 2, 3, 5, 6, 8]]) <= ROUNDING).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90min", np.arange(0, 18.1, 1.5)),
        ("4h", [0, 4, 8, 12, 16]),  # times that fall into some intervals twice, into others once
        ("1h,90min,7h", [1, 1.5, 7]),
        ("2026-03-01T01:30,2026-03-01T18:00Z", [1.5, 18]),
    ],
)
def test_s001_12_steps_lead_times_and_valid_times_are_where_they_were_asked_for(upscaler, forecast, text, expected):
    fine = upscaler.upscale_forecast(forecast, Request(times=OutputTimes.parse(text)))
    np.testing.assert_allclose(hours(fine), expected, rtol=0, atol=1e-9)
    every = upscaler.upscale_forecast(forecast, Request(times=OutputTimes.parse("30min")))
    same = every.values[np.rint(2 * np.array(expected)).astype(int)]
    assert (np.abs(fine.values - same) <= ROUNDING).all()


def test_s001_04_frames_of_the_input_pass_through_to_the_last_bit(upscaler, forecast):
    given = forecast.load()
    for text, frames in (("1h", range(4)), ("4h", (0, 2)), ("0,0.37", range(4))):
        fine = upscaler.upscale_forecast(forecast, Request(times=OutputTimes.parse(text)))
        for frame in frames:
            (index,) = np.flatnonzero(hours(fine) == 6 * frame)
            np.testing.assert_array_equal(fine.values[index], given[frame])
    line = (given[0] + given[1]) / 2
    half = upscaler.upscale_forecast(forecast, Request(times=shares(0.5))).values[0]
    assert (np.abs(half - line) > 0.01 * SD[:, None, None]).any()  # what the network adds is there


def test_s001_14_a_blob_that_crosses_the_date_line_is_interpolated_without_a_seam(upscaler):
    """The same globe, told from another meridian on: its edge lies elsewhere, the fields do not."""
    grid = globe(5.0)
    lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)
    frames = []
    for east in (170, 178, 186):  # degrees: over the date line
        distance = np.arccos(np.clip(np.cos(lat) * np.cos(lon - np.deg2rad(east)), -1, 1))
        blob = np.exp(-((distance / 0.25) ** 2))
        frames.append([280 + 15 * blob, 95_000 - 3000 * blob])
    values = np.array(frames, np.float32)
    times = make_forecast(3, ("t2m", "sp"), grid).times
    one = Forecast.from_arrays(values, ("t2m", "sp"), grid, times)
    # west edge at 180 W: the date line is the edge
    west = Grid(grid.lat, grid.lon - 180)
    other = Forecast.from_arrays(np.roll(values, 36, axis=-1), ("t2m", "sp"), west, times)
    wish = Request(times=shares(0.25, 0.5))
    whole, turned = (upscaler.upscale_forecast(each, wish).values for each in (one, other))
    assert (np.abs(np.roll(turned, -36, axis=-1) - whole) <= ROUNDING).all()


def test_tiles_give_the_whole_field(upscaler, forecast):
    wish = Request(times=OutputTimes.parse("45min"))
    whole = upscaler.upscale_forecast(forecast, wish)
    tiled = upscaler.upscale_forecast(forecast, replace(wish, tile=5))
    assert (np.abs(whole.values - tiled.values) <= ROUNDING).all()


@pytest.mark.parametrize("text", ["2h", "0,0.1,0.37"])
def test_a_stream_waits_for_one_frame_and_gives_what_the_whole_forecast_gives(upscaler, forecast, text):
    wish = Request(times=OutputTimes.parse(text))
    whole = upscaler.upscale_forecast(forecast, wish)
    arrived: list[int] = []

    def frames():
        for index, (time, values) in enumerate(zip(forecast.times.valid_times, forecast.load(), strict=True)):
            arrived.append(index)
            yield time, values

    made = []
    for fine in upscaler.stream(frames(), forecast.variables, forecast.grid, wish):
        interval = min(int((fine.valid_time - START) / HOUR // 6), 3)
        assert arrived[-1] == min(interval + 1, 3)  # no more than the frame that ends its interval
        made.append(fine)
    np.testing.assert_array_equal([fine.valid_time for fine in made], whole.times.valid_times)
    assert (np.abs(np.stack([fine.values for fine in made]) - whole.values) <= ROUNDING).all()


def test_a_stream_takes_no_list_of_times_for_it_does_not_know_its_end(upscaler, forecast):
    frames = zip(forecast.times.valid_times, forecast.load(), strict=True)
    with pytest.raises(UsageError, match="a step or fractions"):
        next(upscaler.stream(frames, forecast.variables, forecast.grid, Request(times=OutputTimes.parse("1h,2h"))))


@pytest.mark.parametrize("text", ["soon", "1.5", "0,-0.1", "0h"])
def test_what_names_no_times_is_refused(text):
    with pytest.raises(UsageError):
        OutputTimes.parse(text)


@pytest.mark.parametrize("text", ["1h,19h", "2026-02-28T23:00"])
def test_times_beyond_the_forecast_are_refused(upscaler, forecast, text):
    with pytest.raises(UsageError, match="lie outside the forecast"):
        upscaler.upscale_forecast(forecast, Request(times=OutputTimes.parse(text)))


def test_a_step_beyond_the_forecast_is_refused_and_does_not_give_its_first_frame(upscaler, forecast):
    with pytest.raises(UsageError, match="a step of 40 h is longer than the forecast"):
        upscaler.upscale_forecast(forecast, Request(times=OutputTimes.parse("40h")))


def test_the_title_counts_frames_where_times_were_asked_for(upscaler, forecast):
    sink = MemorySink()
    upscaler.run(forecast, sink, Request(times=OutputTimes.parse("1h,90min,4h")))
    assert sink.description.attrs["title"].endswith(f"in time from {len(forecast.times)} frames to 3")


def test_a_model_of_even_steps_refuses_other_times(node, forecast):
    with pytest.raises(UsageError, match="6 frames per interval and no others"):
        node.upscale_forecast(forecast, Request(times=OutputTimes.parse("15min")))


def test_fields_of_longer_intervals_than_it_learned_are_flagged(upscaler):
    forecast = make_forecast(3, ("t2m", "sp"), interval_hours=9)
    fine = upscaler.upscale_forecast(forecast, Request(times=shares(0.5)))
    assert any("trained on intervals of 6 h" in warning for warning in fine.summary.warnings)
