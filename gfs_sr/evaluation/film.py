"""A forecast through its lead times: frames for the page's slider, and an animation as a file."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from PIL import Image

from gfs_sr.evaluation.picture import Picture, in_few_colors, pixels_of, png, raster
from gfs_sr.evaluation.plots.coast import box, coastlines
from gfs_sr.evaluation.plots.maps import Axis, Panel, Scale, sheet
from gfs_sr.evaluation.plots.palettes import ERROR_COLORS, error_limit, field_limits, palette
from gfs_sr.evaluation.plots.style import Values
from gfs_sr.evaluation.plots.units import display, measured

LEVELS = 32  # colors of a frame: as many steps as an eye tells apart on a bar, and half the bytes of 256
WIDEST = 480  # pixels of a frame; finer fields are averaged
FRAME_MS = 500
ANIMATION_DPI = 75
MISSING_INDEX = LEVELS


@dataclass(frozen=True, eq=False)
class Strip:
    """One map of the film: an image per frame."""

    title: str
    frames: list[bytes]  # PNG, (T,); a repeated frame is the same object
    notes: list[str]  # (T,) what to say below each
    is_error: bool


@dataclass(frozen=True, eq=False)
class Film:
    """All maps of one variable through the forecast."""

    variable: str
    long_name: str
    lead_hours: Values  # (T,)
    labels: list[str]  # (T,) of the lead times
    coarse_frames: list[int]  # those that stand on a coarse frame
    start: int  # the frame shown first
    strips: list[Strip]
    aspect: float  # width over height
    coast: str  # SVG path in a box of 1000 by 1000
    value_bar: tuple[bytes, float, float, str]  # image, low, high, units
    error_bar: tuple[bytes, float, float, str]


def film(
    variable: str,
    long_name: str,
    lead_hours: Values,
    valid: Sequence[str],
    truth: Values,
    coarse: Values,
    coarse_hours: Values,
    estimates: Sequence[tuple[str, Values]],
    lat: Axis,
    lon: Axis,
    budget: int,
) -> Film:
    """Frames of truth, coarse input, every estimate and its difference, in at most about `budget` bytes.

    Args:
        variable: of the table.
        long_name: of the variable.
        lead_hours: (T,).
        valid: (T,) valid times, as text.
        truth: (T, H, W), canonical units.
        coarse: (T_c, H_c, W_c).
        coarse_hours: (T_c,).
        estimates: (label, (T, H, W)), the model first.
        lat: (H,).
        lon: (W,).
        budget: bytes; fields are averaged over more cells until the frames fit.
    """
    shown, colors = display(variable), palette(variable)
    values = Scale(shown.units, colors.name, *field_limits(shown.field(truth), colors.centered))
    limit = error_limit([shown.error(field - truth) for _, field in estimates])
    errors = Scale(shown.difference, ERROR_COLORS, -limit, limit)
    weights = np.cos(np.deg2rad(lat))[:, None]
    each = budget / (len(lead_hours) * (1 + 2 * len(estimates)))
    middle = len(truth) // 2
    factor = -(-truth.shape[2] // WIDEST)

    def size(factor: int) -> float:
        error = shown.error(estimates[0][1][middle] - truth[middle])
        return (len(_frame(shown.field(truth[middle]), values, factor)) + len(_frame(error, errors, factor))) / 2

    while factor < min(truth.shape[1:]) // 8 and size(factor) > each:
        factor += 1
    held = np.clip(np.searchsorted(coarse_hours, lead_hours + 1e-6, side="right") - 1, 0, len(coarse_hours) - 1)
    coarse_images = [_frame(shown.field(field), values, 1) for field in coarse]
    strips = [
        Strip("truth", [_frame(shown.field(field), values, factor) for field in truth], [""] * len(truth), False),
        Strip(
            "coarse input", [coarse_images[k] for k in held], [f"of {coarse_hours[k]:g} h" for k in held], False
        ),
    ]  # fmt: skip
    for label, field in estimates:
        differences = shown.error(field - truth)
        sizes = np.sqrt(_weighted_mean(differences**2, weights))
        notes = [f"RMSE {measured(float(size))} {shown.difference}" for size in sizes]
        strips += [
            Strip(label, [_frame(shown.field(one), values, factor) for one in field], [""] * len(truth), False),
            Strip(f"{label} − truth", [_frame(one, errors, factor) for one in differences], notes, True),
        ]
    on_coarse = [k for k, hour in enumerate(lead_hours) if np.isclose(coarse_hours, hour).any()]
    between = [k for k in range(len(lead_hours)) if k not in on_coarse]
    north, south, west, east = box(lat, lon)
    return Film(
        variable,
        long_name,
        lead_hours,
        [f"{hour:g} h, {when}" for hour, when in zip(lead_hours, valid, strict=True)],
        on_coarse,
        between[len(between) // 2] if between else len(lead_hours) // 2,
        strips,
        (east - west) * float(np.cos(np.deg2rad(np.clip((north + south) / 2, -75, 75)))) / (north - south),
        coast_path(lat, lon),
        (_bar(values), values.low, values.high, values.label),
        (_bar(errors), errors.low, errors.high, errors.label),
    )


def coast_path(lat: Axis, lon: Axis) -> str:
    """Coastlines as an SVG path in a box of 1000 by 1000, north up."""
    north, south, west, east = box(lat, lon)
    parts = []
    for line in coastlines(north, south, west, east):
        x = np.rint((line[:, 0] - west) / (east - west) * 1000).astype(int)
        y = np.rint((north - line[:, 1]) / (north - south) * 1000).astype(int)
        kept = np.concatenate([[True], (np.diff(x) != 0) | (np.diff(y) != 0)])
        points = [f"{a} {b}" for a, b in zip(x[kept], y[kept], strict=True)]
        if len(points) > 1:
            parts.append("M" + "L".join(points))
    return "".join(parts)


def animation(
    variable: str,
    long_name: str,
    labels: Sequence[str],
    truth: Values,
    estimates: Sequence[tuple[str, Values]],
    lat: Axis,
    lon: Axis,
) -> Picture:
    """A GIF of the truth and the estimates, side by side, that repeats.

    Args:
        variable: of the table.
        long_name: of the variable.
        labels: (T,) of the frames.
        truth: (T, H, W), canonical units.
        estimates: (label, (T, H, W)).
        lat: (H,).
        lon: (W,).
    """
    shown, colors = display(variable), palette(variable)
    scale = Scale(shown.units, colors.name, *field_limits(shown.field(truth), colors.centered), levels=LEVELS)
    series = [("truth", truth), *estimates]
    blank = np.full(truth.shape[1:], np.nan)
    longest = max(labels, key=len)
    figure = sheet(
        long_name, longest, [[Panel(name, "", blank, lat, lon, scale) for name, _ in series]], panel_width=2.3
    )
    figure.set_dpi(ANIMATION_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = [axis for axis in figure.axes if axis.images]
    images = [axis.images[0] for axis in axes]
    headline = figure.texts[1]
    for artist in (*images, headline, *(coast for axis in axes for coast in axis.collections)):
        artist.set_animated(True)
    raster(canvas)
    background = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]  # matplotlib's, as below
    frames = []
    for k, label in enumerate(labels):
        canvas.restore_region(background)  # type: ignore[no-untyped-call]
        headline.set_text(label)
        figure.draw_artist(headline)
        for axis, image, (_, fields) in zip(axes, images, series, strict=True):
            image.set_data(np.ma.masked_invalid(shown.field(fields[k])))
            axis.draw_artist(image)
            for coast in axis.collections:
                axis.draw_artist(coast)
        frames.append(Image.fromarray(pixels_of(canvas)))
    # one palette for all frames, from the first, middle and last: colors must not flicker
    some = np.concatenate([np.asarray(frames[k]) for k in (0, len(frames) // 2, -1)])
    first = in_few_colors(Image.fromarray(some))
    same = [frame.quantize(palette=first, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    same[0].save(
        buffer, format="GIF", save_all=True, append_images=same[1:], duration=FRAME_MS, loop=0, optimize=False,
    )  # fmt: skip
    names = ", ".join(name for name, _ in series)
    return Picture(
        f"animation_{variable}",
        buffer.getvalue(),
        same[0].size,
        f"{long_name} through {len(labels)} lead times",
        f"Animated maps of {long_name}, {labels[0]} to {labels[-1]}: {names} side by side on one color bar.",
        f"{names}, {FRAME_MS / 1000:g} s a frame.",
        "map",
        "gif",
    )


def _frame(field: Values, scale: Scale, factor: int) -> bytes:
    """A field as a palette image, a pixel per `factor` cells."""
    if factor > 1:
        rows, columns = (size // factor * factor for size in field.shape)
        blocks = field[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
        field = blocks.mean(axis=(1, 3))
    steps = np.floor(Normalize(scale.low, scale.high, clip=True)(np.nan_to_num(field, nan=scale.low)) * LEVELS)
    index = np.where(np.isfinite(field), np.clip(steps, 0, LEVELS - 1), MISSING_INDEX).astype(np.uint8)
    image = Image.fromarray(index, mode="P")
    image.putpalette(_palette(scale.colors))
    return png(image)


def _palette(colors: str) -> bytes:
    entries = matplotlib.colormaps[colors]((np.arange(LEVELS) + 0.5) / LEVELS)[:, :3]
    return bytes(np.rint(np.vstack([entries, [[0.85] * 3]]) * 255).astype(np.uint8).ravel())


def _bar(scale: Scale) -> bytes:
    image = Image.fromarray(np.arange(LEVELS, dtype=np.uint8)[None], mode="P")
    image.putpalette(_palette(scale.colors))
    return png(image)


def _weighted_mean(values: Values, weights: Values) -> Values:
    """(T, H, W) -> (T,) over the finite cells."""
    valid = np.isfinite(values)
    spread = np.where(valid, np.broadcast_to(weights, values.shape), 0.0)
    total: Values = np.where(valid, values, 0.0).astype(np.float64)
    mean: Values = (total * spread).sum(axis=(1, 2)) / np.maximum(spread.sum(axis=(1, 2)), 1e-300)
    return mean
