"""The report's folder: which files, which pictures, and what is said about those the data do not allow."""

import base64
import io
import re

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from gfs_sr.data.grid import Registration
from gfs_sr.evaluation.evaluate import Settings, evaluate
from gfs_sr.evaluation.film import coast_path, film
from gfs_sr.evaluation.gallery.cast import casts, shorten
from gfs_sr.evaluation.gallery.ensembles import ensemble_section
from gfs_sr.evaluation.gallery.lead_times import liveliest_point
from gfs_sr.evaluation.gallery.long_runs import long_run_section, periods_of
from gfs_sr.evaluation.gallery.maps import MOST_FRAMES, maps_section, thinned
from gfs_sr.evaluation.gallery.scales import scales_section
from gfs_sr.evaluation.gallery.skill import skill_section
from gfs_sr.evaluation.gallery.values import values_section
from gfs_sr.evaluation.page import page
from gfs_sr.evaluation.prediction import ArrayPrediction
from gfs_sr.evaluation.report import PAGE_BYTES, draw, embedded, write_report
from gfs_sr.evaluation.subject import Subject, interpolating
from tests.evaluation.test_evaluate import write_fine

NODE = Registration.NODE

FOURTEEN = (
    "fss_tp", "fss_all_tp", "bias_tp", "annual_bias_tp", "annual_sigma_tp", "spectra_tp", "samples_tp", "peak_tp_1",
    "variables", "scatter_tp", "ranks_tp_1", "ecdf_tp", "distribution_tp", "annual_maxima_tp",
)  # fmt: skip
"""Names of the geodiff seed system's 14 kinds of plots, by their pictures of precipitation."""


def write_years(path, steps=93, hours=192):
    """Two years of precipitation and temperature every eighth day on 17 by 19 cells."""
    generator = np.random.Generator(np.random.PCG64(3))
    north, east = np.arange(17) / 3, np.arange(19) / 4
    days = generator.gamma(0.6, 4, size=(steps, 1, 1))
    rain = days * np.exp(np.sin(north)[:, None] / 2 + np.cos(east) / 2) * generator.gamma(3, 1 / 3, (steps, 17, 19))
    warm = 283 + 8 * np.sin(np.arange(steps) / 7)[:, None, None] + generator.normal(0, 1, (steps, 17, 19))
    dims = ("time", "latitude", "longitude")
    xr.Dataset(
        {
            "t2m": (dims, warm.astype(np.float32), {"units": "K"}),
            "tp": (dims, rain.astype(np.float32), {"units": "mm"}),
        },
        coords={
            "time": np.datetime64("2019-01-01T00", "ns") + np.arange(steps) * np.timedelta64(hours, "h"),
            "latitude": ("latitude", 50 - 0.25 * np.arange(17), {"units": "degrees_north"}),
            "longitude": ("longitude", 5 + 0.25 * np.arange(19), {"units": "degrees_east"}),
        },
    ).to_netcdf(path)
    return path


def two_members(path, name="twin"):
    """The truth of the file, each member with errors of its own."""
    with xr.open_dataset(path) as opened:
        truth = opened.load()

    def predict(coarse):
        generator = np.random.Generator(np.random.PCG64(5))
        values = np.stack([truth[name].to_numpy() for name in coarse.variables], axis=1)
        values = values if len(coarse.times) > 1 else values[:1]
        noise = generator.normal(size=(2, *values.shape))
        scale = np.array([1.0 if name == "t2m" else 0.1 for name in coarse.variables])[:, None, None]
        spread = np.where(values > 100, 1.0, values)  # K: one; mm: a share
        return ArrayPrediction((values + noise * scale * spread).astype(np.float32))

    return Subject(name, predict, 2, 2, NODE)


@pytest.fixture(scope="module")
def two_years(tmp_path_factory):
    path = write_years(tmp_path_factory.mktemp("years") / "years.nc")
    settings = Settings((path,), tasks=("joint",), by_terrain=False)
    return evaluate(two_members(path), settings)


def test_s004_23_fourteen_plots_of_a_run_with_two_members(two_years):
    shown = casts(two_years)
    drawn = (scales_section, values_section, ensemble_section, long_run_section)
    sections = [section(two_years, shown) for section in drawn]
    names = {picture.name for section in sections for picture in section.pictures()}
    assert set(FOURTEEN) <= names
    assert [skipped for section in sections for skipped in section.skipped] == []


def test_two_ensembles_in_one_report_have_all_pictures_each(tmp_path):
    path = write_fine(tmp_path / "fine.nc", frames=7)
    evaluation = evaluate([two_members(path, "one"), two_members(path, "other")], Settings((path,), tasks=("joint",)))
    pictures = list(ensemble_section(evaluation, casts(evaluation)).pictures())
    names = [picture.name for picture in pictures]
    assert len(set(names)) == len(names)  # each is a file of its own
    for kind in ("ranks", "spread", "samples"):
        captions = [picture.caption for picture in pictures if picture.name.startswith(f"{kind}_t2m")]
        assert captions
        assert [sum(model in each for each in captions) for model in ("one", "other")] == [len(captions) / 2] * 2


def test_members_of_a_single_frame_are_no_missing_members(tmp_path):
    path = write_fine(tmp_path / "one.nc", frames=1)
    evaluation = evaluate(two_members(path), Settings((path,)))
    skipped = {each.kind: each.reason for each in ensemble_section(evaluation, casts(evaluation)).skipped}
    assert skipped == {"spread and error": "the data have one lead time"}


@pytest.fixture(scope="module")
def one_variable(tmp_path_factory):
    """An evaluation of one hourly forecast of one variable, and the sections of its report."""
    path = write_fine(tmp_path_factory.mktemp("small") / "fine.nc")
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), tasks=("joint",)))
    return evaluation, draw(evaluation)


def test_s004_23_a_single_member_skips_what_needs_more_with_a_note(one_variable):
    evaluation, sections = one_variable
    html = page(evaluation, sections, frozenset())
    notes = html[html.index("Not shown, and why</h2>") :]
    for kind, reason in (
        ("rank histogram", "the models give one forecast, no members"),
        ("samples", "the models give one forecast, no members"),
        ("spread and error", "the models give one forecast, no members"),
        ("maximum of every cell, by period", "the data span less than 2 whole years or days"),
        ("maximum of the domain mean, by period", "the data span less than 2 whole years or days"),
        ("all variables, frame by frame", "the data have one variable"),
    ):
        assert f"<li>{kind}: {reason}</li>" in notes
    names = {picture.name for section in sections for picture in section.pictures()}
    assert {"spectra_t2m", "ecdf_t2m", "distribution_t2m", "bias_t2m", "scatter_t2m", "peak_t2m_1"} <= names


def test_a_single_frame_is_drawn_and_the_rest_named(tmp_path):
    path = write_fine(tmp_path / "one.nc", frames=1)
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,)))
    write_report(evaluation, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report" / "figures").iterdir()}
    assert {"skill_space.png", "maps_t2m.png", "spectra_t2m.png", "density_t2m.png"} <= names
    assert not any(name.startswith(("leads", "series", "animation", "cells", "violins")) for name in names)
    html = (tmp_path / "report" / "index.html").read_text()
    assert "<li>slider and animation through lead times: the data have one lead time</li>" in html
    assert "id=films" not in html


def test_everything_is_in_one_page_of_bounded_size_and_beside_it(real_report):
    _, folder = real_report
    assert {path.name for path in folder.iterdir()} == {"index.html", "metrics.csv", "metrics.json", "figures"}
    html = (folder / "index.html").read_text()
    assert len(html.encode()) < PAGE_BYTES
    files = sorted((folder / "figures").iterdir())
    for path in files:
        inside = base64.b64encode(path.read_bytes()).decode() in html
        assert inside != (f"figures/{path.name}" in html), path.name
    expected = (
        "skill maps animation leads series spectra fss density distribution ecdf means violins cells bias scatter"
    )
    kinds = {re.split(r"_(t2m|r2|joint|space)", path.stem)[0] for path in files}
    assert set(expected.split()) <= kinds


def test_what_does_not_fit_the_page_is_named_as_a_file(one_variable):
    evaluation, sections = one_variable
    pictures = [picture for section in sections for picture in section.pictures()]
    kept = embedded(pictures, 100_000)
    assert 0 < sum(len(picture.data) for picture in pictures if picture.name in kept) <= 100_000
    assert pictures[0].name in kept
    html = page(evaluation, sections, kept)
    for picture in pictures:
        assert (picture.uri in html) == (picture.name in kept)
        assert (f"figures/{picture.file_name}" in html) == (picture.name not in kept)


def test_several_models_share_one_report_and_are_ranked(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    subjects = [interpolating(name, 6, 6, NODE) for name in ("nearest/hold", "bicubic/catmull_rom", "bilinear/linear")]
    evaluation = evaluate(subjects, Settings((path,), tasks=("joint",)))
    assert [one.method for one in casts(evaluation)[0].models] == list(evaluation.models)
    shown = casts(evaluation)
    sections = [skill_section(evaluation), maps_section(evaluation, shown)]
    assert all(shorten(name) in next(sections[0].pictures()).alt for name in evaluation.models)
    html = page(evaluation, sections, frozenset())
    ranked = re.findall(r"<th scope=row>(\d)\. ([^<]+)</th>", html)
    assert [name for _, name in ranked] == list(evaluation.models)
    assert [place for place, _ in ranked] == ["1", "2", "3"]
    assert ranked[-1][1] == "model nearest/hold"


def test_s000_20_figures_of_the_first_days_and_chosen_hours_on_either_scale(tmp_path):
    paths = tuple(
        write_fine(tmp_path / f"{k}.nc", seed=k, variables=("t2m", "d2m"), start=f"2021-03-0{k + 1}T00")
        for k in range(2)
    )
    settings = Settings(paths, protocol="A", examples=1, example_hours=(0, 6))
    write_report(evaluate(interpolating("bicubic/linear", 6, 6, NODE), settings), tmp_path / "report")
    assert {path.name for path in (tmp_path / "report" / "figures").iterdir()} == {
        f"2021030{day}_{name}_h{hour}_{scale}.png"
        for day in (1,)
        for name in ("t2m", "d2m")
        for hour in ("00", "06")
        for scale in ("std", "destd")
    }
    html = (tmp_path / "report" / "index.html").read_text()
    assert html.count("<img") == 8
    assert "No verdict under protocol A" in html
    assert "It ranks nothing" in html


def test_an_animation_has_a_frame_per_lead_time_and_moves(real_report):
    _, folder = real_report
    with Image.open(folder / "figures" / "animation_t2m.gif") as moving:
        assert moving.n_frames == 25
        assert moving.info["loop"] == 0
        moving.seek(0)
        first = np.asarray(moving.convert("RGB")).astype(int)
        moving.seek(12)
        other = np.asarray(moving.convert("RGB")).astype(int)
    assert np.abs(first - other).mean() > 5


def test_films_fit_their_budget_and_keep_the_shape_of_the_field():
    generator = np.random.Generator(np.random.PCG64(0))
    truth = generator.normal(size=(6, 120, 160)).astype(np.float32)
    lat, lon = 50 - 0.1 * np.arange(120), 0.1 * np.arange(160)

    def made(budget):
        return film("t2m", "t2m", np.arange(6.0), ["x"] * 6, truth, truth[::3, ::6, ::6], np.array([0.0, 3.0]),
                    [("m", truth / 2)], lat, lon, budget)  # fmt: skip

    large, small = made(10_000_000), made(60_000)
    assert sum(len(frame) for strip in small.strips if strip.title != "coarse input" for frame in strip.frames) < 80_000
    assert Image.open(io.BytesIO(large.strips[0].frames[0])).size == (160, 120)
    assert large.coarse_frames == [0, 3]
    assert large.start not in large.coarse_frames
    # width over height on the ground: 16° of longitude at 44° N, 12° of latitude
    assert large.aspect == pytest.approx(16 * np.cos(np.deg2rad(44.05)) / 12, rel=1e-3)
    assert [strip.notes[2] for strip in large.strips if strip.title == "coarse input"] == ["of 0 h"]


def test_a_frame_of_the_film_has_the_value_s_color():
    truth = np.full((2, 8, 8), 280.0, np.float32)
    truth[:, :4] = 290.0
    truth[:, 0, 0] = np.nan
    made = film("t2m", "t2m", np.arange(2.0), ["", ""], truth, truth[:1, ::4, ::4], np.zeros(1), [("m", truth)],
                50 - np.arange(8.0), np.arange(8.0), 10_000)  # fmt: skip
    pixels = np.asarray(Image.open(io.BytesIO(made.strips[0].frames[0])).convert("RGB")).astype(int)
    assert tuple(pixels[0, 0]) == (217, 217, 217)  # missing
    assert pixels[1, 1].sum() > 500  # the warm end of the bar is pale, the cold one dark
    assert pixels[6, 6].sum() < 100


def test_coast_paths_lie_in_their_box():
    path = coast_path(52 - 0.1 * np.arange(58), -5.8 + 0.1 * np.arange(80))
    numbers = np.array(re.findall(r"-?\d+", path), int)
    assert path.startswith("M")
    assert numbers.min() >= 0
    assert numbers.max() <= 1000


def test_years_count_when_they_are_whole():
    times = np.datetime64("2019-01-01") + np.arange(0, 3 * 365 - 200, 4).astype("timedelta64[D]")
    found = periods_of(times)
    assert (found.word, list(found.frames)) == ("annual", [2019, 2020])
    np.testing.assert_array_equal(times[found.frames[2020]].astype("datetime64[Y]").astype(int), 50)


def test_days_count_where_there_are_no_two_years():
    hours = np.datetime64("2020-03-01T12") + np.arange(0, 72, 6).astype("timedelta64[h]")
    found = periods_of(hours)
    assert (found.word, found.count) == ("daily", "2 days")  # half a day at either end
    for frames in found.frames.values():
        assert len(frames) == 4
    assert periods_of(hours[:6]) is None


def test_the_liveliest_point_is_not_on_the_rim():
    truth = np.zeros((4, 20, 20))
    truth[2, 0, 0], truth[2, 7, 9] = 100, 5
    assert liveliest_point(truth) == (7, 9)
    assert liveliest_point(np.zeros((4, 1, 1))) == (0, 0)


def test_long_forecasts_are_thinned_for_the_hand(two_years):
    fields = two_years.fields[0]
    few = thinned(fields)
    assert len(few.lead_hours) <= MOST_FRAMES < len(fields.lead_hours)
    assert few.truth.shape[0] == len(few.lead_hours) == len(few.valid_times)


def test_labels_fit_a_legend():
    assert shorten("short") == "short"
    assert shorten("x" * 40) == "x" * 21 + "…"
