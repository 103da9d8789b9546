from pathlib import Path

import pytest

from gfs_sr.metrics.glossary import metric_table, ranges_table

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "metrics.md"


@pytest.mark.parametrize("table", [metric_table, ranges_table])
def test_the_guide_shows_the_registry_as_it_is(table):
    # where this fails, paste the lines of the table over those in the guide
    assert table() in GUIDE.read_text(encoding="utf-8")
