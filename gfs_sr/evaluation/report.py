"""The report's folder: metrics.json, metrics.csv, figures, and one page that holds all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gfs_sr.atomic import whole_files
from gfs_sr.evaluation import protocol_a
from gfs_sr.evaluation.gallery.cast import casts
from gfs_sr.evaluation.gallery.ensembles import ensemble_section
from gfs_sr.evaluation.gallery.lead_times import lead_times_section
from gfs_sr.evaluation.gallery.long_runs import long_run_section
from gfs_sr.evaluation.gallery.maps import cells_section, films, lead_time_section, maps_section
from gfs_sr.evaluation.gallery.scales import scales_section
from gfs_sr.evaluation.gallery.section import Group, Section
from gfs_sr.evaluation.gallery.skill import skill_section
from gfs_sr.evaluation.gallery.values import spread_section, values_section
from gfs_sr.evaluation.page import page
from gfs_sr.evaluation.picture import Picture, png, raster
from gfs_sr.evaluation.plots.seed import seed_figure, seed_name
from gfs_sr.evaluation.result import Evaluation

PAGE = "index.html"
BASE64 = 4 / 3  # characters per byte
PAGE_BYTES = 8_000_000
PICTURE_BYTES = 4_000_000  # of the page, as PNG
FILM_BYTES = 1_600_000
MOVING_BYTES = 800_000  # a larger animation is only a file
SEED_DPI = 90


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write everything into `folder`, which is made where it is missing; other files in it stay.

    Raises:
        DiskFailed: the disk is full or broken; the folder is as it was.
    """
    sections = draw(evaluation) if evaluation.protocol.registered else [seed_section(evaluation)]
    pictures = [picture for section in sections for picture in section.pictures()]
    with whole_files(folder, last=PAGE) as draft:
        evaluation.write_json(draft / "metrics.json")
        evaluation.write_csv(draft / "metrics.csv")
        if not evaluation.protocol.registered:
            protocol_a.write_tables(evaluation.cases, draft)
        (draft / "figures").mkdir()
        for picture in pictures:
            (draft / "figures" / picture.file_name).write_bytes(picture.data)
        text = page(evaluation, sections, embedded(pictures, PICTURE_BYTES))
        (draft / PAGE).write_text(text, encoding="utf-8")


def draw(evaluation: Evaluation) -> list[Section]:
    """Every section of the page, in its order."""
    shown = casts(evaluation)
    through = lead_time_section(evaluation, shown)
    return [
        skill_section(evaluation),
        maps_section(evaluation, shown),
        replace(through, films=films(evaluation, shown, FILM_BYTES)),
        lead_times_section(evaluation, shown),
        scales_section(evaluation, shown),
        values_section(evaluation, shown),
        ensemble_section(evaluation, shown),
        spread_section(evaluation, shown),
        cells_section(evaluation, shown),
        long_run_section(evaluation, shown),
    ]


def seed_section(evaluation: Evaluation) -> Section:
    """The seed system's figures under their own names."""
    return Section(
        "figures",
        "The first days",
        "Panels share the limits p2 to p98 of the target. The baselines are the seed system's own, misregistered ones.",
        [Group("", list(_seed_pictures(evaluation)))],
    )


def _seed_pictures(evaluation: Evaluation) -> Iterator[Picture]:
    for example in evaluation.examples:
        figure = seed_figure(example.panels, example.variable, example.date, example.hour, example.scale)
        figure.set_dpi(SEED_DPI)
        image = Image.fromarray(raster(FigureCanvasAgg(figure)))
        name = seed_name(example.date, example.variable, example.hour, example.scale)
        title = f"{example.variable}, {example.date}, {example.hour} h, {example.scale}"
        yield Picture(
            name.removesuffix(".png"),
            png(image),
            image.size,
            title,
            f"Five maps of {title}: target, model, and the seed system's three baselines, with their RMSE.",
            title,
            "map",
        )


def embedded(pictures: Sequence[Picture], budget: int) -> frozenset[str]:
    """Names of the pictures that fit the page, in its order; animations last, for the slider shows the same."""
    names, used = set(), 0
    for picture in sorted(pictures, key=lambda one: one.extension == "gif"):
        size = len(picture.data)
        if used + size <= budget and (picture.extension != "gif" or size <= MOVING_BYTES):
            names.add(picture.name)
            used += size
    return frozenset(names)
