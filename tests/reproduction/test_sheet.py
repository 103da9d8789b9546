"""The reproduction sheet against what was published and what the code gives."""

from pathlib import Path

import pytest

from reproduction.sheet import METHODS, Key, number, numbers_in, our_evaluation, our_figures, published, sheet

PAGE = Path(__file__).parents[2] / "docs" / "reproduction.md"
pytestmark = pytest.mark.filterwarnings("ignore::gfs_sr.errors.NegativeSkillWarning")  # said of the bundled model
RETRAINED = 0.15  # the bundled model may be trained anew before the sheet is: by so much its figures may differ


@pytest.fixture(scope="module")
def ours() -> dict[Key, float]:
    return our_figures(our_evaluation())


def test_x_8_every_published_figure_has_ours_beside_it_or_the_reason_why_not() -> None:
    page = PAGE.read_text()
    figures = published()
    assert len(figures) == 2 * 5 * 3 * 4 + 5 + 3 + 2 + 2
    for figure in figures:
        assert bool(figure.ours) != bool(figure.reason), figure
        rows = [line for line in page.splitlines() if f"| {figure.variable} | {figure.method} |" in line]
        assert any(f" {figure.value} " in row and figure.reason in row for row in rows), figure


def test_x_8_our_figures_are_what_the_code_gives(ours: dict[Key, float]) -> None:
    stated = numbers_in(PAGE.read_text())
    assert stated.keys() == {key for key in ours if key[2] in METHODS and key[1] in {"t2m", "d2m", "r2", "wspd"}}
    for key, value in stated.items():
        if key[2] == "model":
            assert ours[key] == pytest.approx(value, rel=RETRAINED), f"{key}: run `python -m reproduction`"
        else:
            assert number(ours[key]) == number(value), key


def test_x_8_what_transfers_is_the_order(ours: dict[Key, float]) -> None:
    twin = {figure.key: float(figure.value) for figure in published() if figure.ours}
    for variable in ("t2m", "d2m", "r2", "wspd"):
        for figures in (twin, ours):
            errors = {method: figures["standard", variable, method, "RMSE"] for method in METHODS}
            assert errors["bicubic"] > errors["model"]
            assert errors["bicubic"] > errors["tempinterp"]
        same = ours["standard", variable, "tempinterp", "RMSE"]
        assert same == ours["standard", variable, "st_combined", "RMSE"]


def test_the_page_is_read_back_as_it_was_written() -> None:
    some = {(scale, "t2m", method, "RMSE"): 0.25 for scale in ("standard", "destandard") for method in METHODS}
    assert numbers_in(sheet(some, "a-model", "0123456789abcdef")) == some
