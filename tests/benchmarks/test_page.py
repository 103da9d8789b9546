"""The page of all committed figures."""

import re

from benchmarks.page import PAGE, RESULTS, page, read_results

ROW = {
    "stem": "speed", "case": "8x24x24", "implementation": "ours", "median_s": "0.2", "iqr_s": "0.01",
    "ratio_to_reference": "2", "cells_per_s": "3e6", "device": "a machine", "date": "2026-01-01", "commit": "abc",
    "min_s": "0.1", "min_ratio_to_reference": "2.5", "of_peak": "0.42", "of_bandwidth": "",
}  # fmt: skip
PEER = ROW | {"implementation": "peer", "min_s": "0.25", "min_ratio_to_reference": "1", "of_peak": ""}


def test_the_committed_page_is_of_the_committed_figures():
    assert (RESULTS / PAGE).read_text(encoding="utf-8") == page(read_results(RESULTS)), "run make bench-page"


def test_a_case_shows_its_newest_run_the_fastest_first():
    drawn = page({"speed": [PEER, ROW | {"min_ratio_to_reference": "9.9", "date": "2025-01-01"}, ROW]})
    assert drawn.index(">ours<") < drawn.index(">peer<")
    assert "100 ms" in drawn
    assert "2.5×" in drawn
    assert "42%" in drawn
    assert "2025-01-01" not in drawn
    assert re.search(r'aria-label="9.9, 2.5"', drawn)  # how it went


def test_a_share_that_nothing_of_a_case_has_takes_no_column():
    assert "of bandwidth" not in page({"speed": [ROW, PEER]})


def test_names_are_shown_as_they_are():
    assert "a &lt;b&gt; &amp; c" in page({"speed": [ROW | {"implementation": "a <b> & c"}]})
