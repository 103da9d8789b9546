"""The report as a reader meets it: in a browser, at a desk and on a telephone, with a keyboard."""

import time

import pytest

from tests.evaluation.browser import browsing, find_chromium

DESK, TELEPHONE = 1280, 400

IN_FOCUS = "document.activeElement.tagName + '#' + document.activeElement.id"
FRAME = "document.querySelector('.film:not([hidden]) img')"
PARTS_TOO_WIDE = """
[...document.querySelectorAll('body *')].filter(part => {
  const box = part.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !part.parentElement.closest('.scroll, svg');
}).map(part => part.tagName + ' ' + part.className).slice(0, 5)
"""
SMALL_TEXT = """
[...document.querySelectorAll('main *')].filter(part =>
  [...part.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) &&
  parseFloat(getComputedStyle(part).fontSize) < 11).map(part => part.tagName + ' ' + part.textContent.slice(0, 40))
"""
CONTRAST = """
(() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const linear = c => c <= 10.31475 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
  const light = color => color.slice(0, 3).map(linear)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = part => {
    for (let at = part; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  let least = 99;
  for (const part of document.querySelectorAll('body *')) {
    if (![...part.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    const box = part.getBoundingClientRect();
    if (!box.width || ['SCRIPT', 'STYLE', 'OPTION'].includes(part.tagName)) continue;
    const [one, other] = [light(parse(getComputedStyle(part).color)), light(behind(part))].sort((a, b) => b - a);
    least = Math.min(least, (one + 0.05) / (other + 0.05));
  }
  return least;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with browsing(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(browser, real_report):
    """The report at a desk, at its top; loaded once, for loading is what costs."""
    browser.resize(DESK)
    path = real_report[1] / "index.html"
    if browser.run("location.href") != path.resolve().as_uri():
        browser.open(path)
    browser.run("scrollTo({top: 0, behavior: 'instant'})")
    return browser


def test_it_loads_without_an_error_and_asks_for_nothing_else(browser, real_report):
    browser.console.clear()
    browser.requests.clear()
    browser.resize(DESK)
    browser.open(real_report[1] / "index.html")
    assert browser.console == []
    assert browser.requests == [(real_report[1] / "index.html").resolve().as_uri()]


@pytest.mark.parametrize("width", [DESK, TELEPHONE])
def test_every_picture_is_there_and_nothing_is_wider_than_the_screen(page, width):
    page.resize(width)
    page.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    page.decode_all()
    assert page.run("document.images.length") > 40
    assert page.run("[...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(i => i.alt)") == []
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(PARTS_TOO_WIDE) == []


@pytest.mark.parametrize("width", [DESK, TELEPHONE])
def test_text_is_large_enough_and_stands_out(page, width):
    page.resize(width)
    assert page.run(SMALL_TEXT) == []
    assert page.run(CONTRAST) >= 4.5  # WCAG 2.2, 1.4.3


def test_the_verdict_is_seen_without_scrolling(page):
    for width in (DESK, TELEPHONE):
        page.resize(width, 800)
        assert page.run("document.querySelector('.verdict h2').getBoundingClientRect().bottom") < 500


def test_a_desk_shows_the_whole_table_of_the_verdict(page):
    assert page.run("document.querySelector('.glance .scroll').scrollWidth - "
                    "document.querySelector('.glance .scroll').clientWidth") <= 0  # fmt: skip


def test_a_telephone_shows_what_the_skill_is_without_a_swipe(page):
    page.resize(TELEPHONE)
    assert page.run("document.querySelector('.glance tbody td.text + td').getBoundingClientRect().right") <= TELEPHONE


def test_the_keyboard_reaches_the_slider_and_moves_the_pictures(page):
    page.run("document.querySelector('input[name=film]').focus()")
    reached = []
    for _ in range(4):
        page.press("Tab")
        reached.append(page.run(IN_FOCUS))
    assert "INPUT#lead" in reached
    page.run("document.getElementById('lead').focus()")
    page.press("Home")
    first, words = page.run(f"{FRAME}.src"), page.run(f"{FRAME}.alt")
    assert "0 h" in page.run("document.querySelector('output').textContent")
    page.press("ArrowRight")
    assert page.run("document.getElementById('lead').value") == "1"
    assert page.run(f"{FRAME}.src") != first
    assert page.run(f"{FRAME}.alt") != words
    assert "at 1 h, 2018-05-01 01:00 UTC" in page.run(f"{FRAME}.alt")
    assert page.run("document.getElementById('lead').getAttribute('aria-valuetext')").startswith("1 h")
    page.press("End")
    assert page.run("document.getElementById('lead').value") == "24"
    assert page.run(f"{FRAME}.decode().then(() => {FRAME}.naturalWidth)") > 0


def test_the_arrow_keys_choose_another_variable(page):
    page.run("document.querySelector('input[name=film]').focus()")
    before = page.run(f"{FRAME}.alt")
    page.press("ArrowRight")
    assert page.run("document.querySelector('input[name=film]:checked').value") == "r2"
    assert page.run("document.querySelectorAll('.film:not([hidden])').length") == 1
    after = page.run(f"{FRAME}.alt")
    assert "2 metre temperature" in before
    assert "2 metre relative humidity" in after


def test_details_open_by_keyboard(page):
    page.run("document.querySelector('#scores details').open = false")
    page.run("document.querySelector('#scores summary').focus()")
    page.press("Enter")
    assert page.run("document.querySelector('#scores details').open")


def test_playing_moves_on_and_stops_when_asked(page):
    at = "Number(document.getElementById('lead').value)"
    page.run("document.querySelector('.play').focus()")
    start = page.run(at)
    page.press(" ")
    assert page.run("document.querySelector('.play').textContent") == "Pause"
    deadline = time.monotonic() + 20
    while page.run(at) == start:
        assert time.monotonic() < deadline, "the pictures did not move"
        time.sleep(0.05)
    page.press(" ")
    stopped = page.run(at)
    time.sleep(1.0)  # longer than a frame is shown
    assert page.run(at) == stopped


def test_nothing_moves_for_who_asked_for_stillness(page, real_report):
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}]
    )  # fmt: skip
    page.open(real_report[1] / "index.html")
    assert page.run("getComputedStyle(document.querySelector('.play')).display") == "none"
    page.call("Emulation.setEmulatedMedia", features=[])


def test_without_scripts_every_variable_is_seen(browser, real_report):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.resize(DESK)
        browser.call("Page.navigate", url=(real_report[1] / "index.html").resolve().as_uri())
        time.sleep(1.0)  # nothing tells when a page without scripts is complete
        tree = browser.call("DOM.getDocument", depth=1)["root"]
        films = browser.call("DOM.querySelectorAll", nodeId=tree["nodeId"], selector=".film:not([hidden]) img")
        assert len(films["nodeIds"]) == 2 * (6 + 2)  # two variables: six maps, two color bars
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
