"""What a run tells about itself when it is done."""

import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunSummary:
    """The object `gfs-sr upscale --json` prints."""

    output: str | None
    model: str
    model_sha256: str
    backend: str
    backend_reason: str  # why this engine: asked for, or how `auto` came to it
    provider: str
    precision: str
    tile: dict[str, int]  # time, lat, lon: coarse frames and cells of a core
    halo: dict[str, list[int]] | str  # time, lat, lon: [before, after] each, or "global"
    receptive_field: dict[str, list[int]] | str
    exact: bool  # the output does not depend on the tiling
    variables: tuple[str, ...]
    frames: int
    fine_cells: int  # values written: frames by variables by rows by columns
    seconds: float
    cells_per_second: float
    stage_seconds: dict[str, float]  # read, gather, infer, scatter, write
    peak_rss_bytes: int
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def peak_rss_bytes() -> int:
    """The largest resident memory this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the process that started this one held
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes
