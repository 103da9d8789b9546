"""gfs_sr: super-resolution of weather-forecast fields, deployment first."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfs_sr import errors
    from gfs_sr.contract import Contract
    from gfs_sr.runtime.artifact import Artifact
    from gfs_sr.runtime.output_times import OutputTimes
    from gfs_sr.runtime.request import Request
    from gfs_sr.runtime.upscaler import Upscaler

__all__ = ["Artifact", "Contract", "OutputTimes", "Request", "Upscaler", "__version__", "errors"]
__version__ = "0.1.0"

_LAZY = {
    "Artifact": "gfs_sr.runtime.artifact",
    "Contract": "gfs_sr.contract",
    "OutputTimes": "gfs_sr.runtime.output_times",
    "Request": "gfs_sr.runtime.request",
    "Upscaler": "gfs_sr.runtime.upscaler",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import gfs_sr` costs nothing (PEP 562)."""
    if name == "errors":
        return import_module("gfs_sr.errors")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gfs_sr' has no attribute {name!r}")
