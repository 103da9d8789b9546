"""`make bench-page`: every committed figure on one page, `benchmarks/results/index.html`, that needs no other file.

Each case shows its newest run: the least time, speed as a multiple of the reference of the same run, and, where it was
measured, what share of the machine's own peak that is. Where a case was recorded more than once, a line shows how the
ratio went.
"""

import ast
import csv
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from gfs_sr.evaluation.html_tables import table
from gfs_sr.evaluation.plots.units import number, percent

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = "index.html"
SMALL = {"width": 70, "height": 22}  # pixels of a course
STYLE = """
.ratio { display: inline-block; width: 9rem; height: .8rem; position: relative; background: var(--pale); }
.ratio i { position: absolute; inset: 0 auto 0 0; background: var(--accent); }
.ratio i.slower { background: #b35900; }
.ratio b { position: absolute; inset: -3px auto -3px 0; border-left: 2px dashed #1b1f24; }
svg.course { vertical-align: middle; } svg.course polyline { fill: none; stroke: var(--accent); stroke-width: 1.5; }
td.bar { padding-right: .2rem; }
"""
Row = Mapping[str, str]


def read_results(folder: Path) -> dict[str, list[Row]]:
    """Stem -> its lines, oldest first."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            found[path.stem] = list(csv.DictReader(file))
    return found


def page(results: Mapping[str, Sequence[Row]]) -> str:
    """The page as HTML."""
    style = (files("gfs_sr.evaluation") / "assets" / "page.css").read_text(encoding="utf-8") + STYLE
    contents = "".join(f'<li><a href="#{stem}">{stem.replace("_", " ")}</a></li>' for stem in results)
    body = "".join(section(stem, rows) for stem, rows in results.items())
    return (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n<link rel=icon href="data:,">\n'
        f"<title>gfs_sr: benchmarks</title>\n<style>{style}</style>\n</head>\n<body>\n"
        "<a class=skip href=#main>Skip to the figures</a>\n<header><h1>Benchmarks</h1>\n"
        "<p class=sub>Speed is against the reference of the same run, whose own length the dashed line marks; seconds "
        "of different runs do not compare. Shares are of matrix products and copies, measured beside it.</p></header>\n"
        f"<main id=main>\n<nav aria-label=Contents><ol>{contents}</ol></nav>\n{body}</main>\n"
        "<footer><p class=note>Every figure is in benchmarks/results/*.csv; <code>pytest benchmarks --benchmark-enable "
        "--record</code> adds to them, <code>make bench-page</code> draws this page.</p></footer>\n</body>\n</html>\n"
    )


def section(stem: str, rows: Sequence[Row]) -> str:
    """All cases of one benchmark, newest first."""
    cases: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        cases.setdefault(row["case"], {}).setdefault(row["implementation"], []).append(row)
    tables = "".join(case_table(case, found) for case, found in reversed(cases.items()))
    return (
        f'<section id="{stem}" aria-labelledby="{stem}-title"><h2 id="{stem}-title">{stem.replace("_", " ")}</h2>\n'
        f"<p class=note>{words(stem)}</p>\n{tables}</section>\n"
    )


def case_table(case: str, found: Mapping[str, Sequence[Row]]) -> str:
    """One case: what ran last, fastest first; columns that nothing of the case fills are left out."""
    newest = sorted((lines[-1] for lines in found.values()), key=lambda row: -ratio_of(row))
    most = max(1.0, *(ratio_of(row) for row in newest))
    columns = {
        "implementation": [f"<th scope=row>{escape(row['implementation'])}</th>" for row in newest],
        "time": [f"<td>{seconds(float(row['min_s'] or row['median_s']))}</td>" for row in newest],
        "speed": [f"<td>{number(ratio_of(row))}×</td>" if ratio_of(row) else "" for row in newest],
        "": [bar(ratio_of(row), most) for row in newest],
        "million values/s": [f"<td>{number(float(row['cells_per_s']) / 1e6)}</td>" for row in newest],
        "of peak": [share(row["of_peak"]) for row in newest],
        "of bandwidth": [share(row["of_bandwidth"]) for row in newest],
        "runs": [course([ratio_of(line) for line in found[row["implementation"]]]) for row in newest],
        "measured": [
            f"<td class=text>{row['date']}<small>{escape(row['device'])}, {row['commit']}</small></td>"
            for row in newest
        ],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    rows = (
        "<tr>" + "".join(cell or "<td></td>" for cell in line) + "</tr>" for line in zip(*filled.values(), strict=True)
    )
    return f"<h3>{escape(case)}</h3>\n" + table(case, list(filled), rows, text_columns=(0, len(filled) - 1))


def ratio_of(row: Row) -> float:
    """By least times, else by medians; 0 where the reference did not run."""
    return float(row["min_ratio_to_reference"] or row["ratio_to_reference"] or 0.0)


def bar(ratio: float, most: float) -> str:
    """From nothing to the fastest of the case, with the reference's own length marked."""
    if not ratio:
        return ""
    kind = " class=slower" if ratio < 1 else ""
    return (
        f'<td class=bar><span class=ratio aria-hidden=true><i{kind} style="width:{100 * ratio / most:.1f}%"></i>'
        f'<b style="left:{100 / most:.1f}%"></b></span></td>'
    )


def course(ratios: Sequence[float]) -> str:
    """How a ratio went from run to run, between its least and most; empty where there was one run."""
    kept = [ratio for ratio in ratios if ratio]
    if len(kept) < 2:
        return ""
    low, span = min(kept), max(max(kept) - min(kept), 1e-9)
    width, height = SMALL["width"], SMALL["height"]
    points = " ".join(
        f"{2 + k * (width - 4) / (len(kept) - 1):.1f},{height - 3 - (ratio - low) / span * (height - 6):.1f}"
        for k, ratio in enumerate(kept)
    )
    said = ", ".join(number(ratio) for ratio in kept)
    return (
        f'<td><svg class=course role=img width={width} height={height} aria-label="{said}"><title>{said}</title>'
        f'<polyline points="{points}"/></svg></td>'
    )


def seconds(value: float) -> str:
    """`12.3 ms`."""
    factor, units = next(((f, u) for f, u in ((1.0, "s"), (1e3, "ms")) if value * f >= 1), (1e6, "µs"))
    return f"{number(value * factor)} {units}"


def share(value: str) -> str:
    """Empty where it was not measured."""
    return f"<td>{percent(float(value), 1 if float(value) < 0.1 else 0)}</td>" if value else ""


def words(stem: str) -> str:
    """What the benchmark says of itself, before its first list or command."""
    path = HERE / f"bench_{stem}.py"
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else None
    plain = " ".join(part.replace("\n", " ") for part in (said or "").split("\n\n") if not part.startswith("    "))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(plain))


if __name__ == "__main__":
    target = RESULTS / PAGE
    target.write_text(page(read_results(RESULTS)), encoding="utf-8")
    print(target)
