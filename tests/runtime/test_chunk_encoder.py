"""What our kernel sorts is a chunk of Blosc's to every reader of it."""

import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc, blosc

from gfs_sr._core import bit_planes, bit_planes_bytes
from gfs_sr.runtime import chunk_encoder
from gfs_sr.runtime.chunk_encoder import BITS_SORTED, FLAGS, ChunkEncoder, values_of

WIDTHS = [64, 32, 8]  # of the vectors; those a processor has not are replaced by the next it has
LIBRARY = Blosc(cname="lz4", clevel=5, shuffle=Blosc.BITSHUFFLE)


def field(shape, seed=0):
    """Smooth with noise in its last digits, as forecasts are."""
    steps = np.meshgrid(*(np.linspace(0, 3, size) for size in shape), indexing="ij")
    noise = np.random.default_rng(seed).normal(0, 0.01, shape)
    return (280 + 10 * np.sin(sum(steps)) + noise).astype(np.float32)


def encoded(chunk, encoder=None):
    return b"".join((encoder or ChunkEncoder(5, sorts_bits=True)).take(chunk)())


def decoded(content, chunk):
    return np.frombuffer(Blosc().decode(content), chunk.dtype).reshape(chunk.shape)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("count", "block"), [(8, 8), (512, 512), (520, 512), (4096, 1024), (5000, 2008), (1048, 8)])
def test_sorted_bits_are_the_plain_transposition(width, count, block):
    values = np.random.default_rng(count).integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    planes = np.empty(4 * count, np.uint8)
    bit_planes(values[None, None], planes, block, width)
    expected = []
    for first in range(0, count, block):
        bits = np.unpackbits(values[first : first + block, None].view(np.uint8), axis=1, bitorder="little")
        expected.append(np.packbits(bits.T, axis=1, bitorder="little").ravel())
    np.testing.assert_array_equal(planes, np.concatenate(expected))
    np.testing.assert_array_equal(values_of(planes, block).view(np.uint32), values.view(np.uint32))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_chunk_is_fetched_out_of_a_larger_field(width):
    whole = field((7, 5, 60, 100))
    part = whole[1:5, 3, 50:9:-1, 11:91]
    planes = np.empty(4 * part.size, np.uint8)
    bit_planes(part, planes, 4000, width)
    np.testing.assert_array_equal(values_of(planes, 4000), part.ravel())


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 90), st.integers(1, 130)),
    kind=st.sampled_from(["smooth", "random", "constant", "missing"]),
    level=st.sampled_from([1, 5, 9]),
)
def test_blosc_reads_every_chunk_back(shape, kind, level):
    chunk = {
        "smooth": lambda: field(shape),
        "random": lambda: np.frombuffer(np.random.default_rng(1).bytes(4 * int(np.prod(shape))), "f4").reshape(shape),
        "constant": lambda: np.full(shape, -0.0, np.float32),
        "missing": lambda: np.where(field(shape) > 280, np.float32(np.nan), field(shape)),
    }[kind]()
    back = decoded(encoded(chunk, ChunkEncoder(level, sorts_bits=True)), chunk)
    np.testing.assert_array_equal(back.view(np.uint32), chunk.view(np.uint32))


@pytest.mark.parametrize(
    "shape", [(3, 300, 400), (2, 1024, 1024), (1, 128, 1024), (131072,), (8,), (2, 2, 200, 301, 8)]
)
def test_chunks_are_as_small_as_blosc_makes_them(shape):
    chunk = field(shape)
    content = encoded(chunk)
    np.testing.assert_array_equal(decoded(content, chunk), chunk)
    assert len(content) == len(LIBRARY.encode(chunk))


def test_the_fast_way_is_taken_where_it_says_so(monkeypatch):
    chunk, sorting = field((2, 90, 160)), []
    monkeypatch.setattr(chunk_encoder, "bit_planes", lambda *given: sorting.append(1) or bit_planes(*given))
    content = encoded(chunk)
    assert sorting == [1]
    assert content[FLAGS] & BITS_SORTED
    assert encoded(chunk, ChunkEncoder(5, sorts_bits=False)) == content
    assert sorting == [1]


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(field((1, 3, 5)), id="no multiple of eight"),
        pytest.param(np.arange(4096, dtype=np.uint8).reshape(1, 64, 64), id="flags"),
        pytest.param(np.arange(4096.0).reshape(1, 64, 64), id="doubles"),
        pytest.param(field((1, 64, 128))[..., ::2], id="values apart"),
        pytest.param(field((64, 64, 1))[..., 0].T[None], id="turned"),
        pytest.param(field((7, 5, 3)).T, id="turned, no multiple of eight"),
        pytest.param(np.arange(280, dtype=np.uint8).reshape(8, 5, 7).T, id="flags, turned"),
    ],
)
def test_whatever_the_kernel_does_not_take_is_whole_too(chunk):
    np.testing.assert_array_equal(decoded(encoded(chunk), chunk), chunk)


@pytest.mark.parametrize("sorts_bits", [True, False])
def test_a_chunk_is_the_caller_s_again_before_it_is_compressed(sorts_bits):
    chunk = field((1, 64, 128))
    kept, pack = chunk.copy(), ChunkEncoder(5, sorts_bits=sorts_bits).take(chunk)
    chunk[...] = 0
    np.testing.assert_array_equal(decoded(b"".join(pack()), kept), kept)


def test_threads_do_not_share_their_memory():
    encoder, together, wrong = ChunkEncoder(5, sorts_bits=True), threading.Barrier(4, timeout=20), []

    def work(number):
        for turn in range(10):
            chunk = field((1, 64, 128), seed=100 * number + turn)
            pack = encoder.take(chunk)
            together.wait()
            if not np.array_equal(decoded(b"".join(pack()), chunk), chunk):
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_library_that_cuts_otherwise_is_not_believed(monkeypatch):
    encoder, compress = ChunkEncoder(5, sorts_bits=True), blosc.compress
    chunk = field((2, 300, 400))
    encoder.take(chunk)()

    def other(values, name, level, shuffle, block):
        return compress(values, name, level, shuffle, 1 << 16 if block == 0 else block)

    monkeypatch.setattr(encoder, "_blocks", {chunk.size: 1 << 12})
    monkeypatch.setattr(chunk_encoder.blosc, "compress", other)
    with pytest.raises(RuntimeError, match="other blocks than 4096"):
        encoder.take(chunk)()


def test_blosc_s_header_is_where_its_format_says():
    header = LIBRARY.encode(field((2, 300, 400)))[:16]
    assert struct.unpack("<I", header[chunk_encoder.BLOCK_SIZE])[0] % 32 == 0
    assert struct.unpack("<I", header[4:8])[0] == 4 * 2 * 300 * 400
    assert header[FLAGS] & BITS_SORTED


def test_vectors_are_those_of_the_processor():
    assert bit_planes_bytes() in WIDTHS


@pytest.mark.parametrize(
    ("source", "target", "block", "says"),
    [
        (np.zeros((1, 1, 8), np.float32), np.zeros(31, np.uint8), 8, "target"),
        (np.zeros((1, 1, 8), np.float64), np.zeros(32, np.uint8), 8, "source"),
        (np.zeros((1, 1, 9), np.float32), np.zeros(36, np.uint8), 8, "multiple of 8"),
        (np.zeros((1, 1, 16), np.float32), np.zeros(64, np.uint8), 12, "multiple of 8"),
        (np.zeros((1, 1, 16), np.float32), np.zeros(64, np.uint8), 0, "multiple of 8"),
        (np.zeros((1, 16), np.float32), np.zeros(64, np.uint8), 8, "frames, rows, columns"),
        (np.zeros((1, 4, 16), np.float32)[..., ::2], np.zeros(128, np.uint8), 8, "side by side"),
    ],
)
def test_wrong_arrays_are_refused_by_name(source, target, block, says):
    with pytest.raises(ValueError, match=says):
        bit_planes(source, target, block)
