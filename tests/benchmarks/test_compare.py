"""Benchmarks against their committed results: what fails, and what is noise."""

import csv

import pytest

from benchmarks import compare
from benchmarks.compare import read_ratios, regressions

COLUMNS = ("stem", "case", "implementation", "min_ratio_to_reference")


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    for stem in {row[0] for row in rows}:
        with (folder / f"{stem}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(row for row in rows if row[0] == stem)


def test_the_last_line_of_a_case_counts_and_references_do_not(tmp_path):
    write(
        tmp_path,
        [("a", "x", "ours", "2.0"), ("a", "x", "peer", "1"), ("a", "x", "ours", "3.0"), ("b", "x", "ours", "")],
    )
    assert read_ratios(tmp_path) == {("a", "x", "ours"): 3.0}


@pytest.mark.parametrize(("now", "found"), [(2.0, 0), (1.71, 0), (1.69, 1), (4.0, 0)])
def test_a_fall_of_more_than_15_percent_is_found(now, found):
    key = ("a", "x", "ours")
    assert len(regressions({key: 2.0}, {key: now})) == found


def test_what_only_one_side_knows_is_not_compared():
    assert regressions({("a", "x", "old"): 2.0}, {("a", "x", "new"): 0.1}) == []


@pytest.mark.parametrize(
    ("runs", "code", "measured"),
    [
        ([{"ours": 2.0, "other": 1.0}], 0, [["a"]]),
        ([{"ours": 1.0, "other": 1.0}, {"ours": 1.95, "other": 0.1}], 0, [["a"], ["a"]]),
        ([{"ours": 1.0, "other": 1.0}, {"ours": 1.1, "other": 1.0}], 1, [["a"], ["a"]]),
    ],
    ids=["no fall", "once is noise", "twice fails"],
)
def test_only_what_falls_twice_fails(tmp_path, monkeypatch, capsys, runs, code, measured):
    write(tmp_path, [("a", "x", "ours", "2.0"), ("a", "x", "other", "1.05")])
    monkeypatch.setattr(compare, "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["compare.py"])
    asked = []

    def measure(stems, folder):
        asked.append(sorted(stems))
        return {("a", "x", name): ratio for name, ratio in runs[len(asked) - 1].items()}

    monkeypatch.setattr(compare, "measure", measure)
    assert compare.main() == code
    assert asked == measured
    assert ("twice slower: a: ours on x" in capsys.readouterr().out) == bool(code)
