"""Pictures from plain arrays: their findings are true, their labels are inside, their colors can be told apart."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from gfs_sr.data.variables import VARIABLES
from gfs_sr.evaluation.picture import picture
from gfs_sr.evaluation.plots import maps, palettes, style, units
from gfs_sr.evaluation.plots.cells import CellScores, cell_maps
from gfs_sr.evaluation.plots.climate import mean_bias_maps, period_maximum_maps, relative_bias
from gfs_sr.evaluation.plots.coast import box, coastlines
from gfs_sr.evaluation.plots.distributions import (
    cumulative_figure,
    density_figure,
    maxima_figure,
    means_figure,
    quantile,
    smooth_density,
)
from gfs_sr.evaluation.plots.fss import FssPanel, all_fss_figure, fss_figure
from gfs_sr.evaluation.plots.lines import error_by_lead, point_series, spread_and_error
from gfs_sr.evaluation.plots.probability import rank_histogram, reliability_figure
from gfs_sr.evaluation.plots.scatter import Density, density_scatter, mean_scatter, straight_fit
from gfs_sr.evaluation.plots.seed import PANELS, seed_figure
from gfs_sr.evaluation.plots.sheets import peak_windows, sample_sheet, time_lapse, variables_lapse
from gfs_sr.evaluation.plots.skill import SkillPoint, SkillSeries, skill_figure
from gfs_sr.evaluation.plots.spectra import spectra_figure
from gfs_sr.evaluation.plots.style import PLAIN, SHARPENED, TRUTH, Strand
from gfs_sr.evaluation.plots.units import range_in_words
from gfs_sr.evaluation.plots.violins import ViolinPanel, violins_figure

HOURS = np.arange(25.0)
COARSE_HOURS = np.arange(0, 25, 6.0)
WAVES = 1 + 0.5 * np.abs(np.sin(np.pi * HOURS / 6))
MODEL = style.MODELS[0]
LAT, LON = 52 - 0.1 * np.arange(31), -5 + 0.1 * np.arange(40)
FIELD = 285 + 3 * np.sin(LON)[None] + np.cos(LAT)[:, None]
KM = np.array([11.0, 22.0, 44.0])
PRESSURE = 350 * FIELD
EDGES = np.linspace(-5.0, 25.0, 31)
LONG = "a-model-of-22-letters…"


def strands(*values):
    parts = zip((LONG, "best interpolation", "best sharpened"), (MODEL, PLAIN, SHARPENED), strict=True)
    return [Strand(label, ink, value) for (label, ink), value in zip(parts, values, strict=False)]


def truth(values):
    return Strand("truth", TRUTH, values)


def counts(center, size=10_000, seed=0):
    values = np.random.Generator(np.random.PCG64(seed)).normal(center, 4, size)
    return np.histogram(values, EDGES)[0].astype(float)


def cell_scores():
    return CellScores(np.ones((31, 40)), np.zeros((31, 40)), np.full((31, 40), 0.9), FIELD - 200, FIELD - 285)


DRAWINGS = {
    "lead": lambda: error_by_lead("2 metre temperature", HOURS, strands(WAVES, 2 * WAVES, 1.5 * WAVES), "K",
                                  COARSE_HOURS),
    "series": lambda: point_series("2 metre temperature", HOURS, [truth(WAVES), *strands(2 * WAVES, WAVES)],
                                   "t2m (°C)", "K", COARSE_HOURS, WAVES[::6], "48.2°N 2.5°W"),
    "spread": lambda: spread_and_error("t2m", HOURS, *strands(WAVES, WAVES), "K", COARSE_HOURS),
    "skill": lambda: skill_figure(
        "Space and time together: better than the best sharpened interpolation for 1 of 2 variables",
        ["10 metre eastward wind (u10)", "Mean sea level pressure (msl)"],
        [SkillSeries("against the best", PLAIN, [SkillPoint(0.2, 0.1, 0.3), SkillPoint(-0.1)]),
         SkillSeries("against the sharpened", SHARPENED, [SkillPoint(0.1, -0.1, 0.2), SkillPoint(float("nan"))])],
    ),
    "spectra": lambda: spectra_figure("t2m", 800 / np.arange(1.0, 25), truth(np.ones(24)),
                                      strands(np.ones(24) / 2, np.ones(24) / 4), "m s⁻¹", 60.0),
    "density": lambda: density_scatter(
        "t2m", EDGES, [Density(LONG, np.outer(counts(10), counts(10)), 0.9), Density("other", np.eye(30), 0.8)],
        "t2m (°C)"),
    "means": lambda: mean_scatter("t2m", HOURS, strands(2 * HOURS + 1)[0], "t2m (°C)"),
    "rank": lambda: rank_histogram("t2m", np.array([30.0, 10, 10, 30]), "all values"),
    "reliability": lambda: reliability_figure(
        "10 metre wind speed", [np.linspace(0, 1, 11)] * 2, strands(np.linspace(0, 1, 11) ** 2, np.linspace(0, 1, 11)),
        [np.full(11, 5.0)] * 2, "wspd ≥ 10.8 m s⁻¹", "neighborhood of 9 cells"),
    "fss": lambda: fss_figure("t2m", KM, [FssPanel("t2m ≥ 10 °C (8% of cells)", strands(KM / 44, KM / 88), 0.08)] * 3),
    "all fss": lambda: all_fss_figure("t2m", KM, strands(KM / 44, KM / 88), LONG),
    "distribution": lambda: density_figure("t2m", EDGES, truth(counts(10)), strands(counts(9)), "t2m (°C)", False),
    "cumulative": lambda: cumulative_figure("t2m", EDGES, truth(counts(10)), strands(counts(9)), "t2m (°C)", False),
    "means density": lambda: means_figure("tp", truth(HOURS + 1), strands(HOURS + 2), "mean of tp (mm)", True),
    "violins": lambda: violins_figure(
        "t2m", [ViolinPanel("RMSE", "K", "lower", {LONG: WAVES, "other": 2 * WAVES}),
                ViolinPanel("SSIM", "", "higher", {LONG: WAVES, "other": np.ones(25)})], {LONG: MODEL, "other": PLAIN}),
    "maxima": lambda: maxima_figure("tp", HOURS + WAVES, HOURS[:7], LONG, "tp (mm)"),
    "maps": lambda: maps.comparison(
        "msl", "Mean sea level pressure, 15 h", PRESSURE, LAT, LON, PRESSURE[::6, ::6], LAT[::6], LON[::6], "15 h",
        "12 h, next 18 h", [maps.Estimate(LONG, "model", PRESSURE + 9), maps.Estimate("best", "x", PRESSURE + 20)]),
    "globe": lambda: maps.comparison(
        "t2m", "2 metre temperature, 24 h", *(np.ones((37, 72)), np.linspace(90, -90, 37), np.arange(180, 540, 5.0)),
        *(np.ones((7, 12)), np.linspace(90, -90, 7), np.arange(180, 540, 30.0)), "24 h", "24 h",
        [maps.Estimate(LONG, "model", np.zeros((37, 72)))]),
    "cells": lambda: cell_maps("r2", "r2", {LONG: cell_scores(), "best interpolation": cell_scores()}, LAT, LON),
    "bias": lambda: mean_bias_maps("t2m", "t2m", FIELD, FIELD + 1, LONG, LAT, LON),
    "annual": lambda: period_maximum_maps("t2m", "t2m", np.stack([FIELD, FIELD + 1]), np.stack([[FIELD, FIELD + 3]]),
                                          LONG, LAT, LON)[0],
    "sigma": lambda: period_maximum_maps("t2m", "t2m", np.stack([FIELD, FIELD + 1]), np.stack([[FIELD, FIELD + 3]]),
                                         LONG, LAT, LON)[1],
    "samples": lambda: sample_sheet("t2m", "t2m", FIELD, {f"member {k}": FIELD + k for k in range(5)}, LAT, LON, "6 h"),
    "lapse": lambda: time_lapse("t2m", "t2m", {"truth": np.stack([FIELD] * 3), LONG: np.stack([FIELD] * 3)},
                                ["0 h", "1 h", "2 h"], LAT, LON, "Around a highest mean"),
    "variables": lambda: variables_lapse({"t2m": np.stack([FIELD] * 2), "r2": np.stack([FIELD] * 2)}, ["0 h", "6 h"],
                                         LAT, LON, "All variables"),
}  # fmt: skip


@pytest.fixture(scope="module", params=DRAWINGS, ids=str)
def drawing(request):
    return DRAWINGS[request.param]()


def test_every_letter_lies_inside_its_picture(drawing):
    canvas = FigureCanvasAgg(drawing.figure)
    canvas.draw()
    drawn = drawing.figure.get_tightbbox(canvas.get_renderer())  # inches
    width, height = drawing.figure.get_size_inches()
    assert drawn.x0 >= -0.02
    assert drawn.y0 >= -0.02
    assert drawn.x1 <= width + 0.02
    assert drawn.y1 <= height + 0.02


def test_a_picture_says_its_finding_and_tells_it_to_those_who_cannot_see_it(drawing):
    shown = " ".join(text.get_text() for text in drawing.figure.texts).replace("\n", " ")
    assert drawing.finding in shown
    assert len(drawing.alt) > 40
    assert "nan" not in drawing.alt.replace("nan%", "")


def test_methods_are_told_apart_without_color_and_stand_out_from_white():
    chosen = style.inks([f"m{k}" for k in range(12)], "plain", "sharpened")
    for one, other in itertools.combinations(chosen.values(), 2):
        assert (one.dash, one.color) != (other.dash, other.color)
    for one, other in itertools.combinations(list(chosen.values())[:5] + list(chosen.values())[-2:], 2):
        assert one.dash != other.dash
        assert one.marker != other.marker
    for ink in chosen.values():
        assert contrast(ink.color) >= 3, ink  # WCAG 2.2, 1.4.11
    for ink in (style.TEXT, style.SOFT):
        assert contrast(ink) >= 4.5, ink  # 1.4.3


def contrast(color):
    """Against white, by WCAG 2.2's definition of relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


@pytest.mark.parametrize(
    "name", sorted({palettes.palette(v).name for v in VARIABLES} | {palettes.ERROR_COLORS, "magma_r"})
)
def test_colors_run_evenly_from_dark_to_light_or_from_the_middle_outwards(name):
    color = pytest.importorskip("skimage.color")
    import matplotlib

    lightness = color.rgb2lab(matplotlib.colormaps[name](np.linspace(0, 1, 65))[None, :, :3])[0, :, 0]
    if name in (palettes.ERROR_COLORS, "PuOr_r"):
        assert (np.diff(lightness[:33]) > 0).all()
        assert (np.diff(lightness[32:]) < 0).all()
    else:
        steps = np.diff(lightness)
        assert (steps > 0).all() or (steps < 0).all()


def test_forecasters_units_are_shown_and_differences_keep_theirs():
    kelvin, pascal = units.display("t2m"), units.display("msl")
    assert (kelvin.units, kelvin.difference, pascal.units) == ("°C", "K", "hPa")
    assert kelvin.field(273.15) == 0
    assert kelvin.error(1.5) == 1.5
    assert pascal.field(101325.0) == pytest.approx(1013.25)
    assert pascal.error(20.0) == pytest.approx(0.2)
    assert units.display("u10").units == "m s⁻¹"


@pytest.mark.parametrize(
    ("value", "text"), [(1013.25, "1013"), (-0.5, "−0.5"), (2.0e-5, "2e−05"), (3.14159, "3.14"), (1e7, "1e+07")]
)
def test_numbers_are_written_as_a_reader_writes_them(value, text):
    assert units.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.86, "0.860"), (1.0, "1.00"), (123.0, "123"), (1013.25, "1013"), (-0.02, "−0.0200"), (0, "0.00")],
)
def test_a_score_keeps_the_zeros_that_were_measured(value, text):
    assert units.measured(value) == text


@pytest.mark.parametrize(
    ("value", "span", "text"),
    [(-0.0008, 1.56, "0"), (1.5567, 1.56, "1.56"), (999.86, 17.0, "999.9"), (-43.21, 80.0, "−43.2"), (0.0, 0.0, "0")],
)
def test_the_ends_of_a_bar_have_the_digits_its_length_asks_for(value, span, text):
    assert units.on_a_bar(value, span) == text


def test_one_wild_cell_does_not_bleach_a_map():
    field = np.arange(10_000.0).reshape(100, 100)
    field[0, 0] = 1e9
    assert palettes.field_limits(field, centered=False)[1] < 10_000
    low, high = palettes.field_limits(field - 2000, centered=True)
    assert low == -high
    assert palettes.field_limits(np.full((3, 3), 7.0), centered=False) == (6.5, 7.5)
    assert palettes.error_limit([np.zeros((2, 2)), np.full((2, 2), np.nan)]) == 1


def test_lead_times_won_are_counted():
    model = np.where(HOURS < 10, 0.5, 3.0)
    assert "at 10 of 25 lead times" in error_by_lead("x", HOURS, strands(model, WAVES), "K", COARSE_HOURS).finding


def test_the_share_of_power_is_that_of_the_waves_the_coarse_grid_cannot_hold():
    wavelength = np.array([480.0, 240.0, 120.0, 60.0, 30.0])
    power = np.array([1000.0, 100.0, 10.0, 3.0, 1.0])
    kept = power * np.array([1, 1, 1, 0.5, 0.5])
    another = Strand("another model", style.MODELS[1], kept / 9)
    shown = [*strands(kept), another, strands(kept, 0 * power)[1]]
    found = spectra_figure("x", wavelength, truth(power), shown, "K", coarse_km=55.0).finding
    assert "Below 60 km" in found
    assert "50% of the truth's power, best interpolation 0%" in found


@pytest.mark.parametrize(
    ("ranks", "words"), [([30, 10, 10, 30], "outside all members in 75%"), ([10, 30, 30, 10], "too wide"),
                         ([25, 25, 25, 25], "Close to flat")]
)  # fmt: skip
def test_a_rank_histogram_says_what_its_shape_means(ranks, words):
    assert words in rank_histogram("x", np.array(ranks, float), "all").finding


def test_an_honest_probability_is_off_by_nothing_and_a_wrong_one_by_its_distance():
    p = np.linspace(0.05, 0.95, 10)
    honest, wrong = (
        reliability_figure("x", [p], strands(observed), [np.ones(10)], "event", "members").finding
        for observed in (p, p + 0.05)
    )
    assert "off by 0.0%" in honest
    assert "off by 5.0%" in wrong


def test_the_fit_is_that_of_least_squares():
    x = np.array([0.0, 1, 2, 3])
    assert_allclose(straight_fit(x, 2 * x - 1), (2, -1, 1))
    y = np.array([0.0, 2, 1, 3])
    slope, offset = np.polyfit(x, y, 1)
    assert_allclose(straight_fit(x, y), (slope, offset, np.corrcoef(x, y)[0, 1] ** 2))
    assert straight_fit(np.ones(3), y[:3])[0] == 0


def test_a_smooth_density_sums_to_one_about_the_values():
    values = np.random.Generator(np.random.PCG64(0)).normal(3, 2, 4000)
    at, density = smooth_density(values)
    assert np.trapezoid(density, at) == pytest.approx(1, abs=0.01)
    normal = np.exp(-(((at - 3) / 2) ** 2) / 2) / np.sqrt(8 * np.pi)
    assert np.abs(density - normal).max() < 0.02


def test_a_quantile_of_counts_is_linear_within_a_bin():
    assert quantile(np.array([0.0, 10, 20]), np.array([1.0, 1]), 0.75) == 15


def test_windows_stand_on_the_highest_peaks_and_do_not_overlap():
    means = np.zeros(30)
    means[[3, 4, 20, 29]] = 5, 9, 7, 6
    assert peak_windows(means, 3) == [[2, 3, 4, 5, 6], [18, 19, 20, 21, 22], [25, 26, 27, 28, 29]]
    assert peak_windows(np.zeros(3), 5) == [[0, 1, 2]]


def test_a_relative_bias_of_next_to_nothing_is_not_said():
    found = relative_bias(np.array([10.0, 1.0, 0.1, 0.0]), np.array([11.0, 2.0, 5.0, 5.0]))
    assert_allclose(found[:2], [0.1, 1.0])
    assert np.isnan(found[2:]).all()


def test_shares_of_the_mean_are_drawn_only_where_zero_is_the_beginning():
    def panels(variable):
        figure = cell_maps("x", variable, {"m": cell_scores()}, LAT, LON).figure
        return sum(bool(axis.images) for axis in figure.axes)

    assert panels("t2m") == panels("u10") == 3
    assert panels("r2") == panels("wspd") == 5


def test_coastlines_are_where_the_coasts_are_in_any_convention_of_longitude():
    lines = np.concatenate(coastlines(52.0, 46.0, -6.0, 2.0))
    for lon, lat in ((-4.74, 48.04), (-1.94, 49.72), (1.58, 50.87)):  # Pointe du Raz, La Hague, Cap Gris-Nez
        assert np.hypot(lines[:, 0] - lon, lines[:, 1] - lat).min() < 0.25
    turned = np.concatenate(coastlines(52.0, 46.0, 354.0, 362.0))
    assert_allclose(turned - [360, 0], lines, atol=1e-6)
    assert coastlines(-20.0, -30.0, -120.0, -115.0) == ()  # open Pacific


def test_a_map_ends_at_the_edges_of_its_cells_and_not_beyond_a_pole():
    assert box(np.array([50.0, 49.5]), np.array([3.0, 4.0])) == (50.25, 49.25, 2.5, 4.5)
    assert box(np.array([90.0, 0.0, -90.0]), np.array([0.0, 120, 240]))[:2] == (90, -90)


@pytest.mark.parametrize(("low", "high"), [(995.2, 1014.9), (940, 1060), (1000, 1001)])
def test_isolines_are_few_and_round(low, high):
    lines = maps.isolines(low, high)
    assert 1 <= lines.size <= 11
    assert_array_equal(lines, lines.round())
    assert low <= lines[0]
    assert lines[-1] <= high + 1e-6


@pytest.mark.parametrize(
    ("variable", "low", "high", "words"),
    [
        ("t2m", 273.15, 283.15, "0 to 10 °C"), ("t2m", -np.inf, 253.15, "below \N{MINUS SIGN}20 °C"),
        ("t2m", 303.15, np.inf, "30 °C and more"), ("msl", 100000, 101300, "1000 to 1013 hPa"),
    ],
)  # fmt: skip
def test_ranges_are_told_in_the_units_of_the_page(variable, low, high, words):
    assert range_in_words(variable, low, high) == words


@pytest.mark.parametrize("width", [3.4, 4.53, 7.0])
@pytest.mark.parametrize("text", ["Daily maximum of mmmmmmmm: more than one spread of the summers off in 0% of cells, "
                                  "WWWW − WWWW", "illicit " * 30])  # fmt: skip
def test_a_title_ends_before_its_picture_does(width, text):
    figure = Figure(figsize=(width, 3))
    style.headline(figure, "", lines := style.wrap(text, width))
    drawn = figure.texts[1].get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert drawn.x1 <= figure.bbox.x1
    assert drawn.x1 > 0.7 * figure.bbox.x1  # and is not broken too early
    assert " ".join(lines).split() == text.split()


def test_a_long_run_is_drawn_by_coarse_intervals_and_days():
    hours = np.arange(241.0)
    values = np.where(hours % 6 == 0, 0.0, 1.0)  # no error on coarse frames
    axis = error_by_lead("t2m", hours, strands(values, 2 * values), "K", hours[::6]).figure.axes[0]
    line = next(each for each in axis.lines if each.get_color() == MODEL.color)
    assert_allclose(line.get_xdata()[:2], [2.5, 8.5])
    assert_allclose(line.get_ydata()[:40], np.sqrt(5 / 6))
    assert set(np.diff(axis.get_xticks())) == {48}
    short = error_by_lead("t2m", HOURS, strands(WAVES, WAVES), "K", COARSE_HOURS).figure.axes[0]
    assert {each.get_xdata().size for each in short.lines} == {25}


def test_dry_cells_are_counted_and_have_no_place_on_a_logarithmic_axis():
    edges = np.concatenate([[0.0], np.geomspace(0.1, 10, 5)])
    dry, wet = np.array([90.0, 5, 3, 2, 0]), np.array([60.0, 20, 10, 5, 5])
    parts = truth(dry), strands(wet), "tp (mm)", True
    density = density_figure("tp", edges, *parts).figure.axes[0]
    assert min(np.min(line.get_xdata()) for line in density.lines) > 0.1
    drawn = next(line for line in density.lines if line.get_color() == TRUTH.color)
    assert drawn.get_ydata()[0] == pytest.approx(0.05 / (edges[2] - edges[1]))  # a share of all cells
    cumulative = cumulative_figure("tp", edges, *parts)
    assert {line.get_ydata()[0] for line in cumulative.figure.axes[0].lines} == {0.9, 0.6}
    assert "at most 30.0% away" in cumulative.finding


def test_a_single_forecast_has_one_map_of_its_maxima():
    truth, members = np.stack([FIELD, FIELD + 1]), np.stack([[FIELD, FIELD + 3], [FIELD + 1, FIELD]])
    for count, titles in ((1, [LONG]), (2, ["mean of the members", "largest member"])):
        drawn, _ = period_maximum_maps("t2m", "t2m", truth, members[:count], LONG, LAT, LON)
        assert [text.get_text() for text in drawn.figure.texts[2::2]] == titles


def test_a_skill_that_rounds_to_nothing_has_no_minus():
    figure = skill_figure("", ["a"], [SkillSeries("m", MODEL, [SkillPoint(-0.0002)])]).figure
    assert [text.get_text() for text in figure.axes[0].texts] == ["+0.0%"]


def test_rare_colors_of_a_map_keep_their_hue_in_the_file():
    # next to no wind from the east: its violet is a thousandth of the picture, and the end of the bar
    wind = np.full((31, 40), 3.0) + 2 * np.sin(LON)[None] + np.cos(3 * LAT)[:, None]
    wind[3:5, 3:5] = [[-1.0, -2.0], [-4.0, -6.0]]
    drawn = maps.comparison(
        "u10", "u10", wind, LAT, LON, wind[::6, ::6], LAT[::6], LON[::6], "15 h", "12 h",
        [maps.Estimate("model", "model", wind + np.sin(5 * LON)), maps.Estimate("best", "x", wind + np.cos(7 * LON))],
    )  # fmt: skip
    kept = picture("wind", drawn, "", "map")
    shown = np.asarray(Image.open(io.BytesIO(kept.data)).convert("RGB")).astype(int)
    exact = np.asarray(drawn.figure.canvas.buffer_rgba())[..., :3].astype(int)
    error = np.abs(shown - exact).max(axis=-1)
    assert error.max() <= 40  # of 256: no hue becomes another
    assert error[(exact < 255).any(axis=-1)].mean() < 5  # and what covers much has no steps
    assert not error[(exact == 255).all(axis=-1)].any()  # the page's white is the picture's


def test_s000_20_the_seed_s_panels_share_the_limits_p2_to_p98_of_the_target():
    fields = {name: FIELD + k for k, name in enumerate(PANELS)}
    figure = seed_figure(fields, "t2m", "20210301", 6, "destd")
    images = [axis.images[0] for axis in figure.axes if axis.images]
    low, high = np.percentile(FIELD - 273.15, (2, 98))
    assert [axis.get_title() for axis in figure.axes if axis.images] == [
        "HR", "Model", "Bicubic", "TempInterp", "ST-Combined",
    ]  # fmt: skip
    for image in images:
        assert_allclose(image.get_clim(), (low, high))
    normalized = seed_figure(fields, "t2m", "20210301", 6, "std")
    assert_allclose(normalized.axes[0].images[0].get_clim(), np.percentile(FIELD, (2, 98)))
