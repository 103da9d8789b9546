"""Writing Zarr: the sink against the two things it cannot be faster than, all in one run.

`codec` compresses the same chunks on all cores and drops the result (`blosc` is what Blosc alone takes for that);
`disk` writes the compressed bytes of the same chunks, compressed beforehand, to new files the way the sink does,
flushed. The bar is 80 % of the slower of the two. `side by side` does both at once for chunks and bytes that lie ready,
and shares nothing between them but the machine: driving a disk is work of the same cores, so that where there are few
of them it may be slower than either, and nothing that writes can be faster. GFS_SR_BENCH_FOLDER names a disk of your
choice; 19 GB go there. Fields are smooth with noise in the last digits, so that they compress about as forecasts do.
"""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numcodecs import Blosc

from gfs_sr.data.forecast import SourceLayout
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.runtime.cf import describe
from gfs_sr.runtime.chunk_encoder import ChunkEncoder
from gfs_sr.runtime.file_writers import FileWriters
from gfs_sr.runtime.sink import chunk_shape, open_sink
from gfs_sr.runtime.zarr_chunks import default_writers
from gfs_sr.runtime.zarr_sink import CHUNK_CELLS, LEVEL

VARIABLES = ("t2m", "d2m", "r2", "wspd", "sp")
FRAMES, ROWS, COLUMNS = 96, 720, 2160
BLOCK = (6, 360, COLUMNS)
CASE = f"{FRAMES}x{len(VARIABLES)}x{ROWS}x{COLUMNS} fp32, blosc-lz4 with bitshuffle"


@pytest.fixture(scope="module")
def fields():
    """(frames, variables, rows, columns) of one block, and its flags; every block holds the same."""
    random = np.random.default_rng(0)
    t, c, y, x = np.ogrid[: BLOCK[0], : len(VARIABLES), : BLOCK[1], : BLOCK[2]]
    values = 280 + 10 * np.sin(0.01 * x + 0.3 * t + c) * np.cos(0.013 * y) + random.normal(0, 0.05, (1, 1, *BLOCK[1:]))
    return values.astype(np.float32), np.zeros(BLOCK, np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Emptied at the end alone: ext4 looks for new files' places among those it lost in the last minutes, at length."""
    made = Path(os.environ.get("GFS_SR_BENCH_FOLDER", tmp_path_factory.mktemp("disk"))) / "gfs-sr-bench-writing"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def description():
    grid = Grid(60 - 0.02 * np.arange(ROWS), 0.02 * np.arange(COLUMNS))
    times = TimeAxis(
        np.datetime64("2026-01-01"), np.datetime64("2026-01-01") + np.timedelta64(1, "h") * np.arange(FRAMES)
    )
    layout = SourceLayout()
    return describe(VARIABLES, layout, grid, times, registration=Registration.NODE, bucket_step=None, provenance={})


def block_chunks(values):
    """The chunks of one block, contiguous."""
    frames, rows, columns = chunk_shape(description(), BLOCK, CHUNK_CELLS)
    for channel in range(len(VARIABLES)):
        for t in range(0, BLOCK[0], frames):
            for y in range(0, BLOCK[1], rows):
                for x in range(0, COLUMNS, columns):
                    yield np.ascontiguousarray(values[t : t + frames, channel, y : y + rows, x : x + columns])


def starts():
    return [(frame, row) for frame in range(0, FRAMES, BLOCK[0]) for row in range(0, ROWS, BLOCK[1])]


@pytest.mark.benchmark(group="writing")
@pytest.mark.parametrize("implementation", ["codec", "blosc", "disk", "side by side", "sink"])
def bench_writing(benchmark, fields, root, implementation):
    values, flags = fields
    encoder, library = ChunkEncoder(LEVEL), Blosc(cname="lz4", clevel=LEVEL, shuffle=Blosc.BITSHUFFLE)
    chunks = [*block_chunks(values)] * len(starts())
    with ThreadPoolExecutor(default_writers()) as pool:
        packed = [encoder.take(chunk)() for chunk in block_chunks(values)] * len(starts())

        def compress():
            return pool.map(lambda chunk: len(encoder.take(chunk)()), chunks)

        def write(folder):
            files = FileWriters()
            written = [files.submit(folder / str(number), *content) for number, content in enumerate(packed)]
            files.close()
            for each in written:
                each.result()

        if implementation == "codec":

            def once(folder):
                list(compress())

        elif implementation == "blosc":

            def once(folder):
                list(pool.map(lambda chunk: len(library.encode(chunk)), chunks))

        elif implementation == "disk":
            once = write

        elif implementation == "side by side":

            def once(folder):
                compressed = compress()
                write(folder)
                list(compressed)

        else:

            def once(folder):
                with open_sink(folder / "fine.zarr") as sink:
                    sink.open(description(), BLOCK)
                    for frame, row in starts():
                        sink.write(frame, row, values, flags)
                    sink.commit()

        def new_folder():
            return (Path(tempfile.mkdtemp(dir=root)),), {}

        benchmark.pedantic(once, setup=new_folder, rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {
        "case": CASE,
        "implementation": implementation,
        "reference": "codec",
        "cells": FRAMES * len(VARIABLES) * ROWS * COLUMNS,
    }
