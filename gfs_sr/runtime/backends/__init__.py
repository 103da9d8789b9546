"""Engines that run one model on tile batches."""

from gfs_sr.runtime.backends.base import Backend
from gfs_sr.runtime.backends.opening import open_backend

__all__ = ["Backend", "open_backend"]
