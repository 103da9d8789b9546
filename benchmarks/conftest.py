"""Recording: `pytest benchmarks --benchmark-enable --record` appends to benchmarks/results/<stem>.csv, a line per case.

A benchmark says what it measured in `extra_info`: `case`, `implementation`, `reference` (the implementation that the
ratio refers to; itself for the reference) and `cells` (values per round); where it knows, `of_peak` and `of_bandwidth`
(`benchmarks.peaks`). Times are per round. `make bench-page` draws them all.
"""

import csv
import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    *("stem", "case", "implementation", "median_s", "iqr_s", "ratio_to_reference", "cells_per_s"),
    *("device", "date", "commit", "min_s", "min_ratio_to_reference", "of_peak", "of_bandwidth"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="append the figures to benchmarks/results/<stem>.csv")
    parser.addoption("--results", type=Path, default=RESULTS, help="another folder for them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Benchmarks run only where they are asked for: what they build is large."""
    if config.getoption("--benchmark-enable") or config.getoption("--benchmark-only"):
        return
    skip = pytest.mark.skip(reason="a benchmark: run with --benchmark-enable")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(skip)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--record"):
        benchmarks = [bench for bench in session.config._benchmarksession.benchmarks if bench and not bench.has_error]
        record(benchmarks, session.config.getoption("--results"))


def record(benchmarks: list[Any], folder: Path) -> None:
    """Append one line per benchmark; the ratio is speed, above 1 where it is faster than its reference."""
    rows: dict[str, list[dict[str, object]]] = {}
    stats = {
        (stem_of(bench), bench.extra_info["case"], bench.extra_info["implementation"]): bench for bench in benchmarks
    }
    for (stem, case, implementation), bench in stats.items():
        reference = stats.get((stem, case, bench.extra_info["reference"]))
        rows.setdefault(stem, []).append(
            {
                "stem": stem,
                "case": case,
                "implementation": implementation,
                "median_s": f"{bench.stats.median:.6g}",
                "iqr_s": f"{bench.stats.iqr:.3g}",
                "ratio_to_reference": f"{reference.stats.median / bench.stats.median:.3g}" if reference else "",
                "cells_per_s": f"{bench.extra_info['cells'] / bench.stats.median:.4g}",
                "device": bench.extra_info.get("device", processor()),
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "commit": commit(),
                "min_s": f"{bench.stats.min:.6g}",
                "min_ratio_to_reference": f"{reference.stats.min / bench.stats.min:.3g}" if reference else "",
                **{
                    share: f"{bench.extra_info[share]:.3g}" if share in bench.extra_info else ""
                    for share in ("of_peak", "of_bandwidth")
                },
            }
        )
    folder.mkdir(exist_ok=True)
    for stem, lines in rows.items():
        path = folder / f"{stem}.csv"
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if is_new:
                writer.writeheader()
            writer.writerows(lines)


def stem_of(bench: Any) -> str:
    """`bench_tiling.py::bench_x` -> `tiling`."""
    return Path(bench.fullname.split("::")[0]).stem.removeprefix("bench_")


def processor() -> str:
    """Processor model and number of cores, as Linux names them."""
    import os

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def commit() -> str:
    """Short hash of the checkout."""
    result = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    )
    return result.stdout.strip()
