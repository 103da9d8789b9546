"""GRIB: orientation, times, levels, buckets, duplicates, damage."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.sources import open_forecast, open_statics, open_tensors
from gfs_sr.data.sources.grib import match_field
from gfs_sr.data.sources.grib_field import parse_step_range, read_headers
from gfs_sr.data.sources.grib_message import message_spans, split_fields
from gfs_sr.errors import (
    AllMissing,
    AmbiguousField,
    GapInLeadTimes,
    MissingVariable,
    UnreadableFile,
    UnsortedTimes,
    UnsupportedGrid,
    ValuesOutOfBounds,
)
from tests.data.grib_files import Message, encode, temperature, write

PACKED_24_BITS = 1e-5  # of a span of 11 K


def test_rows_run_north_to_south_however_the_file_scans(tmp_path):
    falling = write(tmp_path / "a.grib2", Message(temperature()))
    rising = write(tmp_path / "b.grib2", Message(temperature(), lat=(48.0, 50.0)))
    for path, ascending in ((falling, False), (rising, True)):
        forecast = open_forecast(path)
        np.testing.assert_array_equal(forecast.grid.lat, [50.0, 49.0, 48.0])
        np.testing.assert_allclose(forecast.frame(0)[0], temperature(), atol=PACKED_24_BITS)
        assert forecast.layout.lat_ascending is ascending


@pytest.mark.parametrize(
    ("first", "last", "expected", "longitudes_from"),
    [
        (10.0, 13.0, [10, 11, 12, 13], 0),
        (358.0, 1.0, [-2, -1, 0, 1], -180),
        (180.0, 183.0, [180, 181, 182, 183], 0),
    ],
    ids=["east", "across Greenwich", "from the dateline"],
)
def test_longitudes_rise_from_any_start(tmp_path, first, last, expected, longitudes_from):
    forecast = open_forecast(write(tmp_path / "a.grib2", Message(temperature(), lon=(first, last))))
    np.testing.assert_allclose(forecast.grid.lon, expected)
    assert forecast.layout.longitudes_from == longitudes_from


def test_missing_points_are_nan(tmp_path):
    values = temperature()
    values[1, 2] = 9999.0
    frame = open_forecast(write(tmp_path / "a.grib2", Message(values, missing=9999.0))).frame(0)[0]
    assert np.isnan(frame[1, 2])
    assert np.isfinite(frame).sum() == 11


def test_steps_in_minutes_are_lead_times(tmp_path):
    messages = [Message(temperature(), end=minutes, minutes=True) for minutes in (0, 15, 30)]
    np.testing.assert_allclose(open_forecast(write(tmp_path / "a.grib2", *messages)).times.lead_hours, [0, 0.25, 0.5])


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("6", (360, 360)), ("0-12", (0, 720)), ("15m", (15, 15)), ("0m-15m", (0, 15)), ("90s", (1.5, 1.5))],
)
def test_step_ranges_are_understood(text, minutes):
    start, end = parse_step_range(text)
    assert (start / np.timedelta64(1, "m"), end / np.timedelta64(1, "m")) == minutes


def test_a_step_range_of_another_form_is_refused():
    with pytest.raises(ValueError, match="step range"):
        parse_step_range("monthly")


def test_fields_of_one_message_are_all_found(tmp_path):
    # u and v of NCEP share a message: sections 4 to 7 repeat before the end section
    u, v = (encode(Message(temperature() - 280.0 + shift, name)) for name, shift in (("10u", 0.0), ("10v", 20.0)))
    section, position = {}, 16
    while v[position : position + 4] != b"7777":
        length = int.from_bytes(v[position : position + 4], "big")
        section[v[position + 4]] = v[position : position + length]
        position += length
    body = u[16:-4] + b"".join(section[number] for number in (4, 5, 6, 7)) + b"7777"
    path = tmp_path / "multi.grib2"
    path.write_bytes(u[:8] + (16 + len(body)).to_bytes(8, "big") + body)
    forecast = open_forecast(path)
    assert forecast.variables == ("u10", "v10")
    np.testing.assert_allclose(forecast.frame(0)[1] - forecast.frame(0)[0], 20.0, atol=PACKED_24_BITS)
    assert len(list(split_fields(path.read_bytes()))) == 2


def test_equal_doubles_collapse_and_are_named(tmp_path):
    forecast = open_forecast(write(tmp_path / "a.grib2", Message(temperature()), Message(temperature())))
    assert len(forecast.times) == 1
    assert any("occurs twice with equal values" in note for note in forecast.warnings)


def test_doubles_that_differ_are_refused(tmp_path):
    path = write(tmp_path / "a.grib2", Message(temperature()), Message(temperature(1.0)))
    with pytest.raises(AmbiguousField, match="different values"):
        open_forecast(path)


def test_members_of_an_ensemble_are_refused(tmp_path):
    path = write(tmp_path / "a.grib2", Message(temperature(), number=1), Message(temperature(1.0), number=2))
    with pytest.raises(AmbiguousField, match="members"):
        open_forecast(path)


def test_the_table_chooses_the_instant_field_where_an_average_stands_beside_it(golden):
    header = next(read_headers(golden / "era5_uk_t2m.grib1"))
    assert match_field(header) == ("t2m", 0)
    for statistics in ("avg", "max", "min", "accum"):
        assert match_field(replace(header, step_type=statistics)) is None


def test_an_average_is_named_and_not_read(tmp_path):
    average = Message(temperature(5.0), end=6, step_type="avg")
    forecast = open_forecast(write(tmp_path / "a.grib2", average, Message(temperature(), end=6)))
    np.testing.assert_allclose(forecast.frame(0)[0], temperature(), atol=PACKED_24_BITS)
    assert any("avg_2t (heightAboveGround 2 avg)" in note for note in forecast.warnings)


def test_accumulations_since_the_start_become_buckets(tmp_path):
    # ecCodes writes tp as ECMWF does, in meters
    amounts = [np.full((3, 4), amount) for amount in (1.0, 0.0, 2.5)]
    totals = np.cumsum(amounts, axis=0)
    messages = [Message(total / 1000, "tp", 0, 3 * (k + 1), "accum") for k, total in enumerate(totals)]
    forecast = open_forecast(write(tmp_path / "a.grib2", *messages))
    assert forecast.buckets == {"tp": np.timedelta64(3, "h")}
    np.testing.assert_allclose(forecast.load()[:, 0], amounts, atol=1e-5)
    np.testing.assert_allclose(forecast.times.lead_hours, [3, 6, 9])


def test_accumulations_that_start_afresh_become_buckets(tmp_path):
    # as GFS has them: 0-3, 0-6, 6-9, 6-12
    spans = {(0, 3): 1.0, (0, 6): 3.0, (6, 9): 4.0, (6, 12): 9.0}
    messages = [Message(np.full((3, 4), total / 1000), "tp", *span, "accum") for span, total in spans.items()]
    forecast = open_forecast(write(tmp_path / "a.grib2", *messages))
    np.testing.assert_allclose(forecast.load()[:, 0, 0, 0], [1, 2, 4, 5], atol=1e-5)


def test_a_falling_accumulation_is_reported(tmp_path):
    messages = [Message(np.full((3, 4), total / 1000), "tp", 0, hour, "accum") for hour, total in ((1, 5.0), (2, 4.0))]
    forecast = open_forecast(write(tmp_path / "a.grib2", *messages))
    assert not forecast.findings
    forecast.frame(1)
    assert "falls by up to 1" in forecast.warnings[-1]


def test_two_ranges_of_one_end_are_refused(tmp_path):
    messages = [Message(np.ones((3, 4)), "tp", start, 12, "accum") for start in (0, 11)]
    path = write(tmp_path / "a.grib2", *messages)
    with pytest.raises(AmbiguousField, match="0-12, 11-12"):
        open_forecast(path, ["tp"])


def test_two_ranges_of_one_end_are_fields_of_their_own_for_training(tmp_path):
    messages = [
        Message(np.full((3, 4), amount / 1000), "tp", start, 12, "accum") for start, amount in ((0, 5), (11, 2))
    ]
    records = open_tensors([write(tmp_path / "a.grib2", *messages)], ["tp"])
    assert [record.values.shape for record in records] == [(1, 3, 4)] * 2
    np.testing.assert_allclose([record.values.mean() for record in records], [2, 5], atol=1e-5)  # the shorter first


@pytest.mark.parametrize("kept", [10, 100, -1], ids=["in the header", "in a section", "before the last byte"])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "cut.grib2"
    path.write_bytes((encode(Message(temperature())) * 2)[:kept])
    with pytest.raises(UnreadableFile, match=r"cut\.grib2"):
        open_forecast(path)


def test_a_damaged_message_is_refused(tmp_path):
    data = bytearray(encode(Message(temperature())))
    data[16 + 4] = 99  # the number of section 1
    path = tmp_path / "a.grib2"
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableFile):
        open_forecast(path)


def test_large_edition_1_messages_count_in_units_of_120_bytes(tmp_path):
    # header, product section of 28 bytes, no grid, data section whose length of 40 means "rounded up to 120"
    size = 0x800000 + 70000
    blocks = -(-size // 120)
    body = (28).to_bytes(3, "big") + bytes(4) + b"\0" + bytes(20) + (40).to_bytes(3, "big")
    total = blocks * 120 - 40 + 4
    head = b"GRIB" + (0x800000 | blocks).to_bytes(3, "big") + b"\x01" + body
    path = tmp_path / "large.grib1"
    path.write_bytes(head + bytes(total - len(head) - 4) + b"7777")
    assert message_spans(path) == [(0, total)]


def test_an_unmasked_fill_value_is_refused(tmp_path):
    values = temperature()
    values[0, 0] = -9999.0
    with pytest.raises(ValuesOutOfBounds, match="-9999"):
        open_forecast(write(tmp_path / "a.grib2", Message(values))).frame(0)


def test_a_field_without_values_is_refused(tmp_path):
    path = write(tmp_path / "a.grib2", Message(np.full((3, 4), 9999.0), missing=9999.0))
    with pytest.raises(AllMissing):
        open_forecast(path).frame(0)


def test_files_join_by_lead_time_in_any_order(tmp_path):
    paths = [write(tmp_path / f"{hour}.grib2", Message(temperature(hour), end=hour)) for hour in (6, 0, 3)]
    forecast = open_forecast(paths)
    np.testing.assert_allclose(forecast.times.lead_hours, [0, 3, 6])
    np.testing.assert_allclose(forecast.load()[:, 0, 0, 0], [280, 283, 286], atol=PACKED_24_BITS)


def test_a_missing_lead_time_is_refused(tmp_path):
    paths = [write(tmp_path / f"{hour}.grib2", Message(temperature(), end=hour)) for hour in (0, 3, 9)]
    with pytest.raises(GapInLeadTimes):
        open_forecast(paths)


def test_a_frame_in_two_files_is_refused(tmp_path):
    paths = [write(tmp_path / f"{name}.grib2", Message(temperature())) for name in "ab"]
    with pytest.raises(UnsortedTimes, match="occurs twice"):
        open_forecast(paths)


def test_a_variable_without_all_frames_is_refused(tmp_path):
    wind = Message(temperature() - 280.0, "10u")
    path = write(tmp_path / "a.grib2", Message(temperature()), Message(temperature(), end=3), wind)
    with pytest.raises(GapInLeadTimes, match="u10"):
        open_forecast(path)
    assert len(open_forecast(path, ["t2m"]).times) == 2


def test_frames_of_two_forecasts_are_refused(tmp_path):
    path = write(tmp_path / "a.grib2", Message(temperature(), end=6), replace(Message(temperature(), end=6), hour=6))
    with pytest.raises(AmbiguousField, match="2 forecasts"):
        open_forecast(path)


def test_analyses_make_one_series(golden):
    forecast = open_forecast(golden / "era5_uk_t2m.grib1")
    assert forecast.times.reference_time == np.datetime64("2019-03-01T00")
    np.testing.assert_allclose(forecast.times.lead_hours, np.arange(6))


def test_a_missing_variable_is_named_with_what_is_there(golden):
    with pytest.raises(MissingVariable, match=r"variable r2 is not in the input[\s\S]*which has t2m"):
        open_forecast(golden / "era5_uk_t2m.grib1", ["t2m", "r2"])


def test_values_equal_those_of_another_reader(golden):
    path = golden / "gfs_poland.grib2"
    with xr.open_dataset(
        path, engine="cfgrib", filter_by_keys={"typeOfLevel": "heightAboveGround", "level": 2}, indexpath=""
    ) as truth:
        assert truth.latitude[0] < truth.latitude[-1]
        frame = open_forecast(path, ["t2m", "d2m"]).frame(0)
        for channel, name in enumerate(("t2m", "d2m")):
            np.testing.assert_array_equal(frame[channel], truth[name].values[::-1])


def test_what_is_not_read_is_named(golden):
    warnings = " ".join(open_forecast(golden / "gfs_poland.grib2").warnings)
    assert "mslet (meanSea 0)" in warnings
    assert "t (surface 0)" in warnings  # skin temperature is not the temperature at 2 m
    assert "orog, lsm" in warnings


def test_statics_are_read_by_name(golden):
    statics, grid = open_statics(golden / "gfs_poland.grib2", ["orog", "lsm"])
    assert statics["orog"].shape == grid.shape == (33, 49)
    assert set(np.unique(statics["lsm"])) == {0.0, 1.0}


def test_no_index_file_is_left(tmp_path):
    write(tmp_path / "a.grib2", Message(temperature()))
    open_forecast(tmp_path / "a.grib2").load()
    assert [path.name for path in tmp_path.iterdir()] == ["a.grib2"]


def test_another_kind_of_grid_is_refused_by_name(shared_data):
    with pytest.raises(UnsupportedGrid, match="rotated_ll"):
        open_forecast(shared_data / "grib" / "rotated_ll_2t.grib1")
