"""The two protocols: what is compared with what, and how it is averaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gfs_sr.errors import UsageError

NORMALIZED_RANGE = 4.0  # R of PSNR and SSIM on the normalized scale, as the seed system has it
NORMALIZED_CLIP = 10.0  # standard deviations; protocol A only


@dataclass(frozen=True)
class Protocol:
    """How scores are taken."""

    name: Literal["A", "B"]
    registered: bool  # fine indices by registration; else half-pixel resizing and a stretched clock
    area_weighted: bool
    ssim_border: Literal["valid", "zero"]
    summary: str  # for the report


PROTOCOLS: Mapping[str, Protocol] = {
    "A": Protocol(
        "A",
        False,
        False,
        "zero",
        "Protocol A repeats the published tables of the seed system, its half-pixel resizing, stretched clock and "
        "zero-padded baselines included. It ranks nothing: only protocol B does.",
    ),
    "B": Protocol(
        "B",
        True,
        True,
        "valid",
        "Protocol B: registered baselines, area-weighted, over the hull of the coarse points; interpolated and "
        "extrapolated leads apart.",
    ),
}


def protocol(name: str) -> Protocol:
    """A protocol by its letter.

    Raises:
        UsageError: there is no such protocol.
    """
    found = PROTOCOLS.get(name.upper())
    if found is None:
        raise UsageError(f"unknown protocol {name!r}", "--protocol", f"use one of: {', '.join(PROTOCOLS)}")
    return found
