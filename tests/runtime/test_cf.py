"""CF-1.11 descriptions, judged by the checker of the Integrated Ocean Observing System."""

import numpy as np
import pytest

from gfs_sr.data.forecast import SourceLayout
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.variables import VARIABLES, TimeKind
from gfs_sr.runtime.cf import Quality, describe
from gfs_sr.runtime.sink import open_sink
from tests.cf_checker import complaints

PROVENANCE = {
    "title": "t", "institution": "i", "source": "s", "history": "h", "references": "r", "comment": "c",
}  # fmt: skip
INSTANTS = tuple(
    f"{name}@850" if row.on_levels else name for name, row in VARIABLES.items() if row.time_kind is TimeKind.INSTANT
)


def write(path, variables, registration, bucket_step, *, lat_ascending=False):
    grid = Grid(60 - 0.25 * np.arange(7), 350 + 0.25 * np.arange(8))
    times = TimeAxis(
        np.datetime64("2026-01-01"), np.datetime64("2026-01-01T06") + np.timedelta64(1, "h") * np.arange(4)
    )
    layout = SourceLayout({}, "lat", "lon", lat_ascending, 0.0)
    description = describe(
        variables, layout, grid, times, registration=registration, bucket_step=bucket_step, provenance=PROVENANCE
    )
    with open_sink(path) as sink:
        sink.open(description, (4, 7, 8))
        values = np.full((4, len(variables), 7, 8), 0.5, np.float32)
        sink.write(0, 0, values, np.zeros((4, 7, 8), np.uint8))
        sink.commit()
    return description


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("lat_ascending", [False, True])
def test_instants_pass_the_checker(tmp_path, registration, lat_ascending):
    write(tmp_path / "a.nc", INSTANTS, registration, None, lat_ascending=lat_ascending)
    assert complaints(tmp_path / "a.nc") == []


def test_buckets_pass_the_checker_and_have_bounds(tmp_path):
    description = write(tmp_path / "a.nc", ("tp",), Registration.CELL, np.timedelta64(1, "h"))
    assert complaints(tmp_path / "a.nc") == []
    by_name = {variable.name: variable for variable in description.coordinates}
    np.testing.assert_array_equal(by_name["time_bnds"].values[0], [5 * 3600, 6 * 3600])
    assert description.data[0].attrs["cell_methods"] == "time: sum"


@pytest.mark.parametrize(
    ("west", "range_from", "expected"), [(350, 0, 350), (350, -180, -10), (-10, 0, 350), (365, 0, 5)]
)
def test_longitudes_start_in_the_files_own_range_and_rise(west, range_from, expected):
    grid = Grid(60 - np.arange(3.0), west + 1.0 * np.arange(20))
    times = TimeAxis(np.datetime64("2026-01-01", "ns"), np.array(["2026-01-01"], "datetime64[ns]"))
    description = describe(
        ("t2m",), SourceLayout({}, longitudes_from=range_from), grid, times,
        registration=Registration.NODE, bucket_step=None, provenance={},
    )  # fmt: skip
    lon = next(variable.values for variable in description.coordinates if variable.name == "lon")
    np.testing.assert_allclose(lon, expected + np.arange(20))


def test_a_step_of_no_whole_seconds_keeps_its_fraction():
    times = TimeAxis(
        np.datetime64("2026-01-01", "ns"),
        np.datetime64("2026-01-01", "ns") + np.timedelta64(3600 * 10**9 // 7, "ns") * np.arange(3),
    )
    description = describe(
        ("t2m",), SourceLayout(), Grid(np.arange(3.0)[::-1], np.arange(3.0)), times,
        registration=Registration.NODE, bucket_step=None, provenance={},
    )  # fmt: skip
    time = next(variable.values for variable in description.coordinates if variable.name == "time")
    np.testing.assert_allclose(time, np.arange(3) * 3600 / 7, rtol=1e-9)


def test_each_quality_bit_is_one_bit():
    assert all(bin(bit.value).count("1") == 1 for bit in Quality)
