"""A figure as the report keeps it: a small PNG file, and the same bytes inside the page."""

import base64
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gfs_sr.evaluation.plots.style import DPI, Drawing

Kind = Literal["chart", "wide", "map"]
PALETTE_COLORS = 256
COMMON_COLORS = 96  # of them, by what covers most
MAP_DPI = 150  # maps are wide: 12 inches at most
MAP_PIXELS = 2_200_000  # a taller sheet is drawn coarser


@dataclass(frozen=True)
class Picture:
    """One image of the report."""

    name: str  # of its file, without extension
    data: bytes
    size: tuple[int, int]  # pixels
    finding: str
    alt: str
    caption: str
    kind: Kind = "chart"
    extension: str = "png"

    @property
    def file_name(self) -> str:
        """In the folder of figures."""
        return f"{self.name}.{self.extension}"

    @property
    def uri(self) -> str:
        """For an `img` of a page that needs no other file."""
        return data_uri(self.data, self.extension)


def data_uri(data: bytes, extension: str = "png") -> str:
    """The bytes as an address."""
    return f"data:image/{extension};base64,{base64.b64encode(data).decode('ascii')}"


def picture(name: str, drawing: Drawing, caption: str, kind: Kind = "chart") -> Picture:
    """Draw it into a palette PNG: half of a true-color one, and every reader shows it."""
    figure = drawing.figure
    width, height = figure.get_size_inches()
    figure.set_dpi(min(MAP_DPI, float(np.sqrt(MAP_PIXELS / (width * height)))) if kind == "map" else DPI)
    pixels = raster(FigureCanvasAgg(figure))
    return Picture(
        name, png(Image.fromarray(pixels)), (pixels.shape[1], pixels.shape[0]), drawing.finding, drawing.alt, caption,
        kind,
    )  # fmt: skip


def raster(canvas: FigureCanvasAgg) -> npt.NDArray[np.uint8]:
    """(rows, columns, 3) pixels of a figure."""
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's
    return pixels_of(canvas)


def pixels_of(canvas: FigureCanvasAgg) -> npt.NDArray[np.uint8]:
    """(rows, columns, 3) of what has been drawn."""
    shown: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return shown


def png(image: Image.Image) -> bytes:
    """Bytes of an image in at most 256 colors."""
    if image.mode != "P":
        image = in_few_colors(image)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def in_few_colors(image: Image.Image) -> Image.Image:
    """The image with a palette that keeps rare colors, too.

    Cutting at medians, Pillow's default, gives the palette to what covers much, and paints the few cells at the ends of
    a color bar in another hue; covering the farthest colors first leaves steps in what covers much. So each has a part.
    """
    common = image.quantize(COMMON_COLORS, method=Image.Quantize.MEDIANCUT)
    rare = image.quantize(PALETTE_COLORS - COMMON_COLORS - 1, method=Image.Quantize.MAXCOVERAGE)
    entries = [255, 255, 255]
    for part in (common, rare):
        entries += part.getpalette() or []
    chosen = Image.new("P", (1, 1))
    chosen.putpalette(entries)
    nearest = image.quantize(palette=chosen, dither=Image.Dither.NONE)
    index = np.array(nearest)
    index[(np.asarray(image) == 255).all(axis=-1)] = 0  # Pillow's nearest is nearly so, and the page is white
    exact = Image.fromarray(index, mode="P")
    exact.putpalette(entries)
    return exact
