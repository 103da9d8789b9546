"""Splits by date, chance and region: parts share nothing, ends are included, seeds decide."""

import numpy as np
import pytest

from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.sources.blocks import open_blocks
from gfs_sr.errors import NothingToUpscale, UsageError
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.split import PARTS, SplitConfig, check_split, split_fields
from gfs_sr.training.stored_set import StoredSet
from tests.data.test_blocks import dataset

HOUR = np.timedelta64(3600 * 10**9, "ns")


def by_date(train, validation, test=None):
    """First and last day of each part."""
    parts = {"train": train, "validation": validation} | ({} if test is None else {"test": test})
    return SplitConfig("date", dates={part: text.split() for part, text in parts.items()})


def series(start, hours, name="a", rows=6, columns=8, north=50.0, west=5.0, step=1):
    times = np.datetime64(start, "ns") + step * HOUR * np.arange(hours)
    values = np.arange(hours * rows * columns, dtype=np.float32).reshape(1, hours, rows, columns)
    return FieldSet(
        name,
        name,
        ("t2m",),
        values,
        times,
        north - np.arange(rows, dtype=float),
        west + np.arange(columns, dtype=float),
    )


def days(parts):
    return {part: {str(day) for each in found for day in each.times.astype("datetime64[D]")}
            for part, found in parts.items()}  # fmt: skip


def cells(parts):
    """(set, value) of every cell: values are all different within a set."""
    return {part: {(each.name, value) for each in found for value in each.values.ravel()}
            for part, found in parts.items()}  # fmt: skip


def test_dates_are_inclusive_at_both_ends_and_disjoint():
    config = by_date("2021-03-01 2021-03-04", "2021-03-05 2021-03-05", "2021-03-06 2021-03-07")
    parts = split_fields([series("2021-02-27", 24 * 12)], config)
    assert days(parts) == {
        "train": {f"2021-03-0{day}" for day in (1, 2, 3, 4)}, "validation": {"2021-03-05"},
        "test": {"2021-03-06", "2021-03-07"},
    }  # fmt: skip
    assert [each.shape[0] for part in PARTS for each in parts[part]] == [96, 24, 48]
    found = cells(parts)
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]


def test_a_run_belongs_to_its_first_day():
    runs = [series(f"2021-03-0{day}T12", 48, f"run{day}") for day in (1, 2, 3)]
    config = by_date("2021-03-01 2021-03-02", "2021-03-03 2021-03-03")
    parts = split_fields(runs, config)
    assert [each.name for each in parts["train"]] == ["run1", "run2"]
    assert parts["train"][0] is runs[0]  # whole: not copied
    assert [each.name for each in parts["validation"]] == ["run3"]
    assert not parts["test"]


def test_the_archive_of_the_seed_has_its_published_counts():
    everything = np.arange(np.datetime64("2021-03-01"), np.datetime64("2025-07-24"))
    runs = [series(str(day), 2, str(day), 1, 1) for day in everything]
    config = by_date("2021-03-01 2024-08-26", "2024-08-27 2025-02-01", "2025-02-02 2025-07-23")
    parts = split_fields(runs, config)
    assert [len(parts[part]) for part in PARTS] == [1275, 159, 172]


def test_ratios_are_of_days_and_the_same_for_the_same_seed():
    sets = [series("2021-03-01", 24 * 40, "t"), series("2021-03-01", 24 * 40, "u")]
    config = SplitConfig("ratio", ratios={"train": 0.8, "validation": 0.1}, seed=7)
    parts = split_fields(sets, config)
    found = days(parts)
    assert [len(found[part]) for part in PARTS] == [32, 4, 4]
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert found == days(split_fields(sets, config))
    assert found != days(split_fields(sets, SplitConfig("ratio", seed=8)))
    # one day is in one part, whatever set it is in; days that follow one another are one run
    assert {each.name for each in parts["validation"]} == {"t", "u"}
    assert max(each.shape[0] for each in parts["train"]) > 24


def test_regions_share_no_cell():
    config = SplitConfig("region", regions={"train": [60, 0, 47, 20], "validation": [47, 0, 40, 20]})
    whole = series("2021-03-01", 5)
    parts = split_fields([whole], config)
    assert parts["train"][0].lat.tolist() == [50, 49, 48]
    assert parts["validation"][0].lat.tolist() == [47, 46, 45]
    found = cells(parts)
    assert not found["train"] & found["validation"]
    assert found["train"] | found["validation"] == cells({"all": [whole]})["all"]
    east = SplitConfig("region", regions={"train": [60, 365, 40, 369], "test": [60, 9, 40, 30]})
    parts = split_fields([whole], east)
    assert parts["train"][0].lon.tolist() == [5, 6, 7, 8]
    assert parts["test"][0].lon.tolist() == [9, 10, 11, 12]


def test_stored_fields_are_split_without_being_read(tmp_path):
    dataset(frames=24 * 6, rows=4, columns=5).to_netcdf(tmp_path / "long.nc")
    (file,) = open_blocks([tmp_path / "long.nc"], ["t2m"])
    stored = StoredSet.of("a", "a", file, ChunkCache(10**6))
    config = SplitConfig("date", dates={"train": ["2021-03-01", "2021-03-02"], "test": ["2021-03-04", "2021-03-09"]})
    parts = split_fields([stored], config)
    assert stored.cache.loads == 0
    assert [str(each.times[0])[:13] for part in PARTS for each in parts[part]] == ["2021-03-01T00", "2021-03-04T00"]
    assert [each.shape[0] for part in PARTS for each in parts[part]] == [48, 72]


def test_what_cannot_be_split_is_refused():
    whole = [series("2021-03-01", 24)]
    refused = {
        "overlaps|lies in two periods": SplitConfig(
            "date", dates={"train": ["2021-03-01", "2021-03-05"], "validation": ["2021-03-05", "2021-03-06"]}),
        "no pair of days": SplitConfig("date", dates={"train": ["2021-03-01"]}),
        "give the part train": SplitConfig("date", dates={"validation": ["2021-03-01", "2021-03-02"]}),
        "any of validation, test": SplitConfig("ratio", ratios={"train": 0.5, "valid": 0.1}),
        "add up to 1": SplitConfig("ratio", ratios={"train": 0.9, "validation": 0.2}),
        "is no box": SplitConfig("region", regions={"train": [40, 0, 60, 20]}),
        "overlap": SplitConfig("region", regions={"train": [60, 0, 40, 20], "test": [50, 370, 30, 390]}),
    }  # fmt: skip
    for message, config in refused.items():
        with pytest.raises(UsageError, match=message):
            split_fields(whole, config)
    with pytest.raises(NothingToUpscale, match="left to train on"):
        split_fields(whole, SplitConfig("date", dates={"train": ["2020-03-01", "2020-03-02"]}))


def test_what_would_have_no_effect_is_refused():
    dates = by_date("2021-03-01 2021-03-02", "2021-03-03 2021-03-03")
    check_split(dates, [])
    check_split(SplitConfig(), ["era5"])
    with pytest.raises(UsageError, match="sources to validate on"):
        check_split(dates, ["era5"])
    with pytest.raises(UsageError, match="by source, and dates are given"):
        check_split(SplitConfig(dates=dates.dates), [])
    with pytest.raises(UsageError, match="by ratio, and regions are given"):
        check_split(SplitConfig("ratio", regions={"train": [1, 0, 0, 1]}), [])
