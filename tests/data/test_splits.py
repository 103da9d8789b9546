from datetime import date, timedelta
from pathlib import Path

import pytest

from gfs_sr.data.splits import DateSplit, Period, RatioSplit, date_in_name, dated_files
from gfs_sr.errors import InputError, UsageError


@pytest.fixture
def archive():
    first = date(2021, 3, 1)
    return [first + timedelta(days=k) for k in range((date(2025, 7, 23) - first).days + 1)]


def test_s000_05_a_complete_archive_splits_into_1275_159_172_days(archive):
    split = DateSplit()(archive)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [1275, 159, 172]
    assert archive[split.train[-1]] == date(2024, 8, 26)
    assert archive[split.validation[0]] == date(2024, 8, 27)
    assert archive[split.test[-1]] == date(2025, 7, 23)


@pytest.mark.parametrize("make", [DateSplit(), RatioSplit()], ids=["date", "ratio"])
def test_s000_05_no_day_is_in_two_parts(make, archive):
    split = make(archive)
    parts = [set(split.train), set(split.validation), set(split.test)]
    assert len(set.union(*parts)) == sum(len(part) for part in parts) == len(archive)


def test_s000_05_the_same_seed_gives_the_same_split(archive):
    assert RatioSplit(seed=7)(archive) == RatioSplit(seed=7)(archive)
    assert RatioSplit(seed=7)(archive) != RatioSplit(seed=8)(archive)
    assert len(RatioSplit()(archive).train) == int(0.8 * len(archive))


def test_periods_that_share_a_day_are_refused():
    with pytest.raises(UsageError, match="lies in two periods"):
        DateSplit(validation=Period(date(2024, 8, 26), date(2025, 2, 1)))
    with pytest.raises(UsageError, match="is before"):
        DateSplit(test=Period(date(2025, 7, 23), date(2025, 2, 2)))


@pytest.mark.parametrize("name", ["gfs_20210301.nc", "2021-03-01_00z.nc", "x_2021_03_01.nc", "99999999_20210301.nc"])
def test_the_date_is_read_from_the_name(name):
    assert date_in_name(Path(name)) == date(2021, 3, 1)


def test_files_are_found_at_any_depth_and_sorted_by_date(tmp_path):
    for name in ("b/20210302.nc", "20210303.nc", "c/d/20210301.nc", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [day.day for day, _ in dated_files(tmp_path)] == [1, 2, 3]


def test_a_name_without_a_date_is_named(tmp_path):
    (tmp_path / "surface.nc").touch()
    with pytest.raises(InputError, match=r"no date in the name surface\.nc"):
        dated_files(tmp_path)
