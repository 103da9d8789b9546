"""Screenshots of a report for the documentation.

From the project's root, with Chromium installed:

    gfs-sr evaluate --data gfs_sr/demo/sample/arpege_2m_NW_20180501000000.grib \
        --data gfs_sr/demo/sample/arpege_10m_NW_20180501000000.grib \
        --data gfs_sr/demo/sample/arpege_P_sea_level_NW_20180501000000.grib -o report
    python -m docs.images.report_images report
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from gfs_sr.evaluation.picture import png
from tests.evaluation.browser import Browser, browsing, find_chromium

HERE = Path(__file__).parent
PARTS = {  # name -> (width of the screen, what the picture begins at, its height)
    "report-verdict": (1280, "header", 1150),
    "report-maps": (1280, "#maps", 760),
    "report-slider": (1280, "#through", 1210),
    "report-scales": (1280, "#leads", 1500),
}
TELEPHONE = ("header", "#through", "#scales")  # side by side


def main(report: Path) -> None:
    """Write every picture beside this file."""
    program = find_chromium()
    if program is None:
        sys.exit("needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile, browsing(program, Path(profile)) as browser:
        for name, (width, start, height) in PARTS.items():
            browser.resize(width)
            browser.open(report / "index.html")
            (HERE / f"{name}.png").write_bytes(png(cut(browser, start, width, height)))
        browser.resize(400)
        browser.open(report / "index.html")
        screens = [cut(browser, start, 400, 860) for start in TELEPHONE]
        sheet = Image.new("RGB", (3 * 400 + 2 * 20, 860), "#8c959f")
        for k, screen in enumerate(screens):
            sheet.paste(screen, (k * 420, 0))
        (HERE / "report-telephone.png").write_bytes(png(sheet))


def cut(browser: Browser, start: str, width: int, height: int) -> Image.Image:
    """The page from an element on."""
    browser.decode_all()
    top = browser.run(f"document.querySelector({start!r}).getBoundingClientRect().top + scrollY")
    return Image.open(io.BytesIO(browser.screenshot(top, width, height))).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
