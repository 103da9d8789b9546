"""Published figures and our own of the same protocol, as one page."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfs_sr.evaluation.evaluate import Settings, run
from gfs_sr.evaluation.result import Evaluation

HERE = Path(__file__).parent
PUBLISHED = HERE / "published.csv"
DAY = HERE.parent / "gfs_sr" / "demo" / "sample"
PARTS = ("2m", "10m", "P_sea_level")
METRICS = ("RMSE", "MAE", "PSNR", "SSIM")
METHODS = ("model", "bicubic", "tempinterp")
SCALES = {"standard": ("normalized", "standard deviations"), "destandard": ("physical", "physical units")}
SYSTEMS = {
    "S000": "factorized super-resolution of GFS surface fields",
    "S001": "self-supervised downscaling in time",
    "S002": "physics-informed diffusion for temperature",
    "S003": "a family of 29 downscaling networks",
    "S004": "diffusion downscaling of precipitation and temperature",
}
WITHOUT = {
    "S003": "It published no figures of its own; its metrics and plots are in `gfs-sr evaluate`.",
    "S004": "It published no figures of its own; its views, metrics and plots are in `gfs-sr evaluate`.",
}
NO_TWIN = "–"

Key = tuple[str, str, str, str]  # scale, variable, method, metric


@dataclass(frozen=True)
class Figure:
    """One published number."""

    system: str
    figure: str  # where it stands
    scale: str
    variable: str
    method: str
    metric: str
    value: str  # as printed
    units: str
    ours: str  # how ours is made; empty where it is not
    reason: str  # why it is not

    @property
    def key(self) -> Key:
        """What our number is found by."""
        return self.scale, self.variable, self.method, self.metric


def published() -> list[Figure]:
    """Every figure, as it was printed."""
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return [Figure(**row) for row in csv.DictReader(file)]


def our_evaluation() -> Evaluation:
    """Protocol A, the default model, on the bundled day."""
    return run(
        Settings(
            tuple(DAY / f"arpege_{part}_NW_20180501000000.grib" for part in PARTS),
            protocol="A",
            output=None,
            examples=0,
        )
    )


def our_figures(evaluation: Evaluation) -> dict[Key, float]:
    """Scale, variable, method, metric -> our number."""
    names = {name: scale for scale, (name, _) in SCALES.items()}
    return {
        (names[scale], variable, method, metric): value
        for (method, variable, metric, scale), value in evaluation.seed_means().items()
    }


def sheet(ours: Mapping[Key, float], model: str, sha256: str) -> str:
    """The page, Markdown."""
    every = published()
    parts = [
        "# Reproduction sheet",
        "Every figure that the seed systems published, beside the figure of the same protocol here, or the reason why "
        "there is none. Written by `python -m reproduction`; a test compares it with what the code gives.",
    ]
    for system, title in SYSTEMS.items():
        own = [figure for figure in every if figure.system == system]
        parts.append(f"## {system}: {title}")
        if system in WITHOUT:
            parts.append(WITHOUT[system])
        compared = [figure for figure in own if figure.ours]
        if compared:
            parts.append(_preface(model, sha256))
            parts += _compared(compared, ours)
        alone = [figure for figure in own if not figure.ours]
        if alone:
            parts.append(_alone(alone))
    return "\n\n".join(parts) + "\n"


def _preface(model: str, sha256: str) -> str:
    return (
        "The published figures are means over 172 test days of an archive (GFS, 40–5° N, 65–100° E, 0.25°, 48 hourly "
        "frames, 2025-02-02 to 2025-07-23) that is not public, nor are the weights: they cannot be rerun. Ours are of "
        "the same protocol A (half-pixel resizing, stretched clock, zero-padded bicubic, the published mean and "
        "spread) on the bundled day: ARPEGE, 51.9–46.2° N, 5.8° W–2.1° E, 0.1°, 25 hourly frames of 2018-05-01, with "
        f"`{model}` ({sha256[:12]}) as the model. Another region, resolution and length: the numbers differ, what must "
        "agree is the order. There as here `bicubic` is far behind because five of six frames are zeros, and "
        "`tempinterp` equals `st_combined`. The day has no surface pressure. Ranking is protocol B's business."
    )


def _compared(figures: Sequence[Figure], ours: Mapping[Key, float]) -> list[str]:
    made = []
    for scale, (_, words) in SCALES.items():
        here = {figure.key: figure for figure in figures if figure.scale == scale}
        head = ["variable", "method", *(f"{metric} {whose}" for metric in METRICS for whose in ("published", "ours"))]
        lines = [head, ["---"] * len(head)]
        for variable in dict.fromkeys(figure.variable for figure in here.values()):
            for method in METHODS:
                cells = [variable, method]
                for metric in METRICS:
                    key = (scale, variable, method, metric)
                    cells += [here[key].value, number(ours[key]) if key in ours else NO_TWIN]
                lines.append(cells)
        made += [f"In {words}:", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return made


def _alone(figures: Sequence[Figure]) -> str:
    head = ["figure", "variable", "method", "metric", "published", "why it cannot be rerun"]
    lines = [head, ["---"] * len(head)]
    lines += [
        [each.figure, each.variable, each.method, each.metric, f"{each.value} {each.units}", each.reason]
        for each in figures
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def numbers_in(page: str) -> dict[Key, float]:
    """Our numbers as a page states them."""
    found: dict[Key, float] = {}
    scale = ""
    for line in page.splitlines():
        scale = next((name for name, (_, words) in SCALES.items() if line == f"In {words}:"), scale)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 + 2 * len(METRICS) and cells[1] in METHODS:
            for column, metric in enumerate(METRICS):
                text = cells[3 + 2 * column]
                if text != NO_TWIN:
                    found[scale, cells[0], cells[1], metric] = float(text)
    return found
