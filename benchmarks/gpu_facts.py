"""`gpu_facts.py FILE`: which machine this is, with its clocks and versions, as JSON; needs nothing but Python."""

import datetime
import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

QUERY = ("name", "driver_version", "compute_cap", "memory.total", "clocks.sm", "clocks.mem", "clocks.max.sm",
         "clocks.max.mem", "power.limit", "temperature.gpu", "mig.mode.current")  # fmt: skip
PACKAGES = ("torch", "triton", "numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "pytest", "pytest-benchmark")


def main(target: Path) -> None:
    """Write the file."""
    found: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "gpus": gpus(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "commit": said(["git", "rev-parse", "--short", "HEAD"]),
        "compiler": said(["g++", "-dumpfullversion"]),
    }
    try:
        import torch

        found["torch_cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
        found["sees_gpu"] = torch.cuda.is_available()
    except ImportError as error:
        found["torch_cuda"] = str(error)
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))


def gpus() -> list[dict[str, str]]:
    """What the driver says of each."""
    answer = said(["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"])
    return [dict(zip(QUERY, map(str.strip, line.split(",")), strict=False)) for line in answer.splitlines()]


def version_of(package: str) -> str:
    """Empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def said(command: list[str]) -> str:
    """A tool's answer; empty where there is no such tool."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
