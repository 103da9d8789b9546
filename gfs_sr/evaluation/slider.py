"""The films of the page: one slider, the maps of one variable at a time."""

import base64
import json
from collections.abc import Sequence
from html import escape

from gfs_sr.evaluation.film import Film, Strip
from gfs_sr.evaluation.picture import data_uri
from gfs_sr.evaluation.plots.units import on_a_bar


def films_html(films: Sequence[Film]) -> str:
    """Controls, maps and their frames; without JavaScript the first frame of every variable is seen."""
    first = films[0]
    paths = list(dict.fromkeys(film.coast for film in films))
    shapes = "".join(
        f'<path id="coast-{k}" d="{path}" vector-effect="non-scaling-stroke"/>' for k, path in enumerate(paths)
    )
    choices = "".join(
        f'<label><input type=radio name=film value="{escape(film.variable)}"{" checked" * (film is first)}> '
        f"{escape(film.long_name)}</label>"
        for film in films
    )
    ticks = "".join(f'<option value="{frame}"></option>' for frame in first.coarse_frames)
    return (
        f"<div id=films><svg class=shapes aria-hidden=true><defs>{shapes}</defs></svg>"
        f"<fieldset class=choose><legend>Variable</legend>{choices}</fieldset>"
        "<div class=run role=group aria-label='Lead time'>"
        "<button type=button class=play aria-pressed=false>Play</button>"
        "<label for=lead>Lead time</label>"
        f'<input type=range id=lead min=0 max="{len(first.labels) - 1}" value="{first.start}" step=1 '
        f'list=coarse-frames aria-valuetext="{escape(first.labels[first.start])}">'
        f"<datalist id=coarse-frames>{ticks}</datalist>"
        f"<output for=lead>{escape(first.labels[first.start])}</output></div>"
        + "".join(_film(film, paths.index(film.coast), hidden=False) for film in films)
        + "</div>"
    )


def _film(film: Film, coast: int, *, hidden: bool) -> str:
    images: dict[bytes, int] = {}
    strips = [
        {
            "title": strip.title,
            "frames": [images.setdefault(frame, len(images)) for frame in strip.frames],
            "notes": strip.notes,
        }
        for strip in film.strips
    ]
    data = {
        "variable": film.variable,
        "name": film.long_name,
        "labels": film.labels,
        "coarse": film.coarse_frames,
        "strips": strips,
        "images": [base64.b64encode(image).decode("ascii") for image in images],
    }
    # "<" would end the script early inside a label
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    columns = len(film.strips) // 2
    return (
        f'<div class=film data-film="{escape(film.variable)}"{" hidden" * hidden}>'
        f'<div class=strips style="--columns:{columns}">'
        + "".join(_strip(film, strip, coast) for strip in film.strips)
        + "</div><div class=bars>"
        + _bar("values", *film.value_bar)
        + _bar("differences", *film.error_bar)
        + f'</div><script type="application/json" data-film="{escape(film.variable)}">{text}</script></div>'
    )


def _strip(film: Film, strip: Strip, coast: int) -> str:
    note = strip.notes[film.start]
    alt = f"{strip.title} of {film.long_name} at {film.labels[film.start]}." + (f" {note}." if note else "")
    return (
        f"<figure><figcaption><strong>{escape(strip.title)}</strong> <span>{escape(note)}</span></figcaption>"
        f'<div class=field style="aspect-ratio:{film.aspect:.4f}"><img src="{data_uri(strip.frames[film.start])}" '
        f'alt="{escape(alt)}"><svg viewBox="0 0 1000 1000" preserveAspectRatio=none aria-hidden=true>'
        f'<use href="#coast-{coast}" class=coast-rim /><use href="#coast-{coast}" class=coast /></svg></div></figure>'
    )


def _bar(what: str, image: bytes, low: float, high: float, units: str) -> str:
    first, last = on_a_bar(low, high - low), on_a_bar(high, high - low)
    return (
        f'<span>{first}<img src="{data_uri(image)}" alt="Color bar of {what} from {first} to {last} {escape(units)}">'
        f"{last} {escape(units)} ({what})</span>"
    )
