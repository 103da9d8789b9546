"""The command line: one file per command; each parses, calls one function, and prints what it returned."""

from gfs_sr.cli.app import main

__all__ = ["main"]
