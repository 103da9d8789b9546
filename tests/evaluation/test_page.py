"""The report's page: what it says first, and that everybody can read it."""

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from gfs_sr.evaluation import html_tables
from gfs_sr.evaluation.film import film
from gfs_sr.evaluation.page import headline, page, page_title
from gfs_sr.evaluation.records import Line, percent
from gfs_sr.evaluation.slider import films_html


class Outline(HTMLParser):
    """Tags in order, with their attributes and the text inside headings."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.headings = []
        self._inside = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self._inside = tag
            self.headings.append([int(tag[1]), ""])

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.headings[-1][1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(real_report):
    return (real_report[1] / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(html):
    return Outline(html)


def line(variable="t2m", skill=0.2, interval=(0.1, 0.3), task="joint", model="m", plain=0.9):
    return Line(
        model, task, variable, "K", "all", "interpolated", 0.8, "bicubic/linear", 8.0, plain,
        "sharpened bicubic/linear", 0.8 / (1 - skill), skill, (plain - 0.1, plain + 0.1), interval,
    )  # fmt: skip


class Told:
    """As much of an evaluation as its headline asks for."""

    model = "m"

    def __init__(self, *lines):
        self._lines = list(lines)

    def lines(self):
        return self._lines


@pytest.mark.parametrize(
    ("skills", "words"),
    [
        ([(0.2, (0.1, 0.3)), (0.1, (0.05, 0.2))], "better than every interpolation, for all 2 variables beyond doubt"),
        ([(0.2, (0.1, 0.3)), (0.1, (-0.05, 0.2))], "for all 2 variables, for 1 of them beyond doubt"),
        ([(0.2, (-0.1, 0.3)), (0.1, (-0.05, 0.2))], "for all 2 variables, but within chance"),
        ([(0.2, None)], "better than every interpolation, for its one variable"),
        ([(0.2, None), (-0.1, None), (0.0, None)], "for 1 of 3 variables, worse for 1"),
        ([(0.2, (0.1, 0.3)), (0.1, None), (0.0, None)], "for 2 of 3 variables, 1 of them beyond doubt, worse for none"),
        ([(-0.1, None), (0.0001, None)], "no detail between the coarse points and frames that the best interpolation"),
    ],
)
def test_the_headline_says_what_was_found_and_how_sure_it_is(skills, words):
    assert words in headline(Told(*(line(f"{k}", value, interval) for k, (value, interval) in enumerate(skills))))


def test_the_headline_is_about_space_and_time_where_that_was_scored():
    assert "points and frames better" in headline(Told(line(), line(task="space", skill=-0.5)))
    assert "restores detail better" in headline(Told(line("t2m"), line("msl", task="space")))
    assert "between the coarse points better" in headline(Told(line(task="space")))


@pytest.mark.parametrize(
    ("value", "interval", "word"),
    [(0.2, (0.1, 0.3), "clearly better"), (0.2, (-0.1, 0.3), "better, within chance"), (0.2, None, "better"),
     (0.2, (0.0001, 0.3), "better, within chance"), (-0.2, (-0.3, -0.1), "clearly worse"),
     (-0.2, (-0.3, 0.1), "worse, within chance"), (0.0001, (-0.1, 0.1), "no difference"),
     (float("nan"), None, "cannot be said")],
)  # fmt: skip
def test_a_skill_becomes_a_word(value, interval, word):
    assert html_tables.verdict_word(line(skill=value, interval=interval)) == word


def test_the_opponent_is_the_best_interpolation_sharpened_or_not():
    lost = line(skill=0.2, plain=-0.3)
    assert html_tables.verdict_word(lost) == "clearly worse"
    assert "no detail" in headline(Told(lost))


def test_every_threshold_has_a_row_of_its_own_and_sizes_are_explained_once(real_report):
    evaluation, _ = real_report
    tables = dict(html_tables.score_groups(evaluation))
    found = [score for score in evaluation.scores() if score.metric == "FSS" and score.variable == "r2"
             and score.method == evaluation.model and score.scale == "8 cells" and score.region == "all"
             and score.lead_class == "interpolated" and score.task == "joint"]  # fmt: skip
    assert len(found) == 4
    for score in found:
        row = tables["neighborhoods"].split(f"<th scope=row>r2 ≥ {score.threshold:g} %</th>")[1].split("</tr>")[0]
        assert html_tables.measured(score.value, 4) in row
    assert "<dt>FSS (n cells)</dt>" in tables["neighborhoods"]
    assert "within windows of n cells" in tables["neighborhoods"]
    assert {"<dt>RMSE (n)</dt>", "<dt>RMSE (max n)</dt>"} <= set(re.findall("<dt>RMSE .*?</dt>", tables["pooled"]))
    assert "RMSE of means over n by n cells" in tables["pooled"]


def test_a_title_names_three_models_and_counts_the_others():
    titles = [page_title(list(names)) for names in ("a", "ab", "abc", "abcde")]
    assert titles == ["a", "a and b", "a, b and c", "a, b, c and 2 more"]


def test_the_verdict_comes_first(real_report, html, outline):
    evaluation, _ = real_report
    levels = [(level, text) for level, text in outline.headings[:2]]
    assert levels[0] == (1, f"{evaluation.model} against the truth")
    assert levels[1] == (2, f"{headline(evaluation)}.")
    before_pictures = html[: html.index("<img")]
    for one in evaluation.lines():
        if one.task == "joint" and one.lead_class == "interpolated":
            assert percent(one.skill_sharpened) in before_pictures
    assert evaluation.verdict()[0] in html


def test_headings_are_in_order(outline):
    levels = [level for level, _ in outline.headings]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(text.strip() for _, text in outline.headings)


def test_the_page_needs_no_other_file_and_no_network(html, outline):
    assert "://" not in html
    for tag in ("img", "script", "link", "use", "a", "source", "iframe"):
        for attrs in outline.all(tag):
            address = attrs.get("src") or attrs.get("href") or "#"
            assert address.startswith(("data:", "#")), (tag, address[:60])
    assert "@import" not in html
    assert "url(" not in html


def test_the_page_has_a_language_a_title_and_a_size_for_telephones(outline, html):
    assert outline.all("html")[0]["lang"] == "en"
    assert "<title>fused-node: evaluation</title>" in html
    assert "width=device-width" in outline.all("meta")[1]["content"]


def test_every_picture_has_words_of_its_own(outline):
    texts = [attrs["alt"] for attrs in outline.all("img")]
    assert len(texts) > 40
    assert all(len(text) > 25 for text in texts)
    assert len(set(texts)) == len(texts)


def test_anchors_lead_somewhere_and_names_are_unique(outline):
    names = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(set(names)) == len(names)
    targets = {attrs["href"][1:] for attrs in outline.all("a") if attrs["href"].startswith("#")}
    assert targets <= set(names)
    for _, attrs in outline.tags:
        for key in ("aria-labelledby", "for", "list"):
            if key in attrs:
                assert attrs[key] in names, (key, attrs[key])


def test_what_scrolls_inside_itself_can_be_reached_by_keyboard_and_has_a_name(outline):
    regions = [attrs for _, attrs in outline.tags if attrs.get("class") == "scroll"]
    assert len(regions) > 10
    for attrs in regions:
        assert attrs["tabindex"] == "0"
        assert attrs["role"] == "region"
        assert attrs["aria-label"]


def test_every_table_has_scopes(outline):
    assert all(attrs.get("scope") in ("col", "row") for attrs in outline.all("th"))


def test_skill_is_signed_so_that_its_color_is_not_needed():
    assert html_tables.skill_cell(0.123, (0.1, 0.2)) == "<td class=good>+12.3%<small>+10.0% … +20.0%</small></td>"
    assert html_tables.skill_cell(-0.02, None) == "<td class=bad>−2.0%</td>"


def test_a_model_s_name_cannot_write_into_the_page(real_report):
    evaluation, _ = real_report
    hostile = "<script>alert(1)</script>"
    facts = {hostile: {"family": "<b>"}}
    spoilt = replace(evaluation, model_facts=facts, settings={"factors": hostile}, warnings=(hostile,))
    made = page(spoilt, [], frozenset())
    assert hostile not in made
    assert "&lt;script&gt;" in made


@pytest.mark.parametrize(
    ("coarse", "words"), [("another model's forecast", "how much the two models differ"), ("Gaussian blur", "itself")]
)
def test_the_page_says_where_the_coarse_fields_came_from(real_report, coarse, words):
    assert words in page(replace(real_report[0], settings={"coarse fields": coarse}), [], frozenset())


def test_a_label_cannot_end_the_slider_s_data():
    made = film(
        "t2m", "</script><b>", np.arange(3.0), ["a", "b", "</script>"], np.ones((3, 5, 6)), np.ones((1, 2, 2)),
        np.zeros(1), [("m", np.zeros((3, 5, 6)))], 50 - 0.1 * np.arange(5), 0.1 * np.arange(6), 10_000,
    )  # fmt: skip
    html = films_html([made])
    inside = re.findall(r"<script type=\"application/json\"[^>]*>(.*?)</script>", html, flags=re.S)
    assert len(inside) == 1
    assert json.loads(inside[0])["labels"][2] == "2 h, </script>"
    assert "<b>" not in html
