"""Engines that run one model on tile batches."""

from gfs_sr.runtime.backends.base import Backend, open_backend

__all__ = ["Backend", "open_backend"]
