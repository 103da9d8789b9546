"""How output is cut into chunks: whole ones in each block, and few of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfs_sr.runtime.sink import MOST_COLUMNS, chunk_shape

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 5000), st.integers(1, 9000))


def shape_of(sizes, block, budget):
    return chunk_shape(SimpleNamespace(shape=sizes), block, budget)


@given(sizes=SIZES, block=st.tuples(st.integers(1, 400), st.integers(1, 5000)), budget=st.integers(1, 1 << 22))
def test_no_chunk_is_of_two_blocks_and_none_is_beyond_the_budget(sizes, block, budget):
    chunks = shape_of(sizes, (*block, sizes[2]), budget)
    for chunk, size, own in zip(chunks, sizes, block, strict=False):
        assert 1 <= chunk <= size
        assert own >= size or own % chunk == 0
    assert chunks[2] <= MOST_COLUMNS
    assert np.prod(chunks) <= max(budget, chunks[2])


@pytest.mark.parametrize("frames", [73, 97, 241])  # hulls of 13, 17 and 41 six-hourly frames: primes
def test_a_forecast_that_is_one_block_is_not_cut_frame_by_frame(frames):
    chunk = shape_of((frames, 288, 288), (frames + 5, 288, 288), 2 << 20)[0]
    assert chunk >= 20
    assert -frames % chunk < -(-frames // chunk)  # the last chunk hardly ends beyond the field
