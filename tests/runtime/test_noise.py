"""Noise is a function of its key: the same in C++, NumPy and torch, for any region, order and thread count; normal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtri

from gfs_sr import _core
from gfs_sr.contract import NoiseDistribution
from gfs_sr.errors import UsageError
from gfs_sr.models import noise as torch_noise
from gfs_sr.runtime import noise, noise_reference
from gfs_sr.runtime.noise import NoiseKey

WHEN = np.datetime64("2024-02-29T18")
KEY = NoiseKey(1, 3, "t2m", WHEN)

# known answers of the authors' own library, Random123: counter, key, words
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def field(key=KEY, rows=40, columns=60, step=0, threads=0):
    lat, lon = noise.microdegrees(50 - 0.25 * np.arange(rows), -10 + 0.25 * np.arange(columns))
    out = np.empty((rows, columns), np.float32)
    noise.fill_normals(out, key, lat, lon, step, threads)
    return out


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_known_answers(counter, key, words):
    assert tuple(_core.philox(counter, key)) == words
    arrays = tuple(np.array([each], np.uint32) for each in counter)
    got = noise_reference.philox(arrays, key[0] | key[1] << 32)
    assert tuple(int(each[0]) for each in got) == words


@given(
    seed=st.integers(0, 2**63 - 1),
    member=st.integers(0, 1000),
    step=st.integers(0, 2**31),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
)
@settings(max_examples=50, deadline=None)
def test_compiled_numpy_and_torch_agree_in_every_bit(seed, member, step, rows, columns):
    key = NoiseKey(seed, member, "tp", WHEN)
    lat, lon = noise.microdegrees(np.linspace(-90, 90, rows), np.linspace(-180, 359.9, columns))
    compiled = np.empty((rows, columns), np.float32)
    noise.fill_normals(compiled, key, lat, lon, step)
    plain = noise_reference.normals(key.word, lat, lon, step)
    tensors = torch_noise.normals(key.word, torch.from_numpy(lat), torch.from_numpy(lon), step)
    np.testing.assert_array_equal(compiled.view(np.uint32), plain.view(np.uint32))
    np.testing.assert_array_equal(tensors.numpy().view(np.uint32), plain.view(np.uint32))


def test_normals_of_every_word_agree_in_every_bit():
    rng = np.random.default_rng(0)
    edges = np.array([0, 1, 2, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)
    words = np.concatenate([edges, rng.integers(0, 2**32, 300_000, dtype=np.uint32)])
    plain = noise_reference.normal_of(words)
    tensors = torch_noise.normal_of(torch.from_numpy(words.astype(np.int64))).numpy()
    np.testing.assert_array_equal(tensors.view(np.uint32), plain.view(np.uint32))
    np.testing.assert_allclose(plain, ndtri((words + 0.5) / 2**32), rtol=2**-23, atol=0)  # one fp32 rounding
    np.testing.assert_array_equal(noise_reference.normal_of(~words), -plain)


def test_a_sub_region_draws_the_noise_of_the_region():
    lat, lon = noise.microdegrees(50 - 0.25 * np.arange(40), -10 + 0.25 * np.arange(60))
    part = np.empty((7, 11), np.float32)
    noise.fill_normals(part, KEY, np.ascontiguousarray(lat[5:12]), np.ascontiguousarray(lon[20:31]), 0)
    np.testing.assert_array_equal(part, field()[5:12, 20:31])


def test_a_longitude_is_the_same_however_it_is_counted():
    one, other = (noise.microdegrees(np.zeros(1), np.array([lon]))[1] for lon in (-10.25, 349.75))
    assert one == other


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_it(threads):
    np.testing.assert_array_equal(field(rows=700, columns=500, threads=threads), field(rows=700, columns=500))


@pytest.mark.parametrize(
    "other",
    [
        NoiseKey(2, 3, "t2m", WHEN),
        NoiseKey(1, 4, "t2m", WHEN),
        NoiseKey(1, 3, "d2m", WHEN),
        NoiseKey(1, 3, "t2m", WHEN + np.timedelta64(1, "h")),
    ],
)
def test_every_part_of_the_key_counts(other):
    a, b = field(rows=300, columns=300), field(other, rows=300, columns=300)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / 300  # five standard errors


def test_steps_are_independent():
    steps = np.stack([field(step=step, rows=200, columns=200).ravel() for step in range(9)])
    correlation = np.corrcoef(steps) - np.eye(9)
    assert np.abs(correlation).max() < 5 / 200


def test_it_is_normal():
    values = field(rows=500, columns=700).ravel()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert abs(values.mean()) < 5 / values.size**0.5
    assert stats.kurtosis(values) == pytest.approx(0, abs=0.05)


def test_neighbors_are_independent():
    values = field(rows=500, columns=700)
    for a, b in ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1])):
        assert abs(np.mean(a * b)) < 5 / values.size**0.5


def test_several_variables_and_times_come_in_order():
    lat, lon = noise.microdegrees(np.arange(3.0), np.arange(4.0))
    times = [WHEN, WHEN + np.timedelta64(1, "h")]
    out = noise.normals(1, 3, ["t2m", "tp"], times, lat, lon, 2)
    assert out.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(out[1, 0], noise_reference.normals(NoiseKey(1, 3, "t2m", times[1]).word, lat, lon, 2))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(UsageError, match="out of range"):
        noise.check_seed(seed)


@pytest.mark.parametrize(
    ("lat", "out"),
    [
        (np.zeros(3), np.empty((3, 2), np.float32)),
        (np.zeros(3, np.int32), np.empty((2, 2), np.float32)),
        (np.zeros(3, np.int32), np.empty((3, 2))),
        (np.zeros(6, np.int32)[::2], np.empty((3, 2), np.float32)),
    ],
)
def test_the_core_writes_into_nothing_it_was_not_given(lat, out):
    with pytest.raises((ValueError, TypeError)):
        _core.fill_normals(1, lat, np.zeros(2, np.int32), 0, out, 1)


@given(
    seed=st.integers(0, 2**63 - 1), channels=st.integers(1, 9), cells=st.integers(1, 700), threads=st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("distribution", list(NoiseDistribution))
def test_channels_of_single_cells_agree_in_every_bit_with_numpy(distribution, seed, channels, cells, threads):
    word = NoiseKey(seed, 0, "dropout_coarse", WHEN).word
    rng = np.random.default_rng(seed % 2**32)
    lat, lon = noise.microdegrees(rng.uniform(-90, 90, cells), rng.uniform(0, 360, cells))
    out = np.full((channels, cells), np.nan, np.float32)
    noise.fill_channels(out, word, lat, lon, distribution, threads)
    plain = noise_reference.channels(word, lat, lon, distribution is NoiseDistribution.UNIFORM, channels)
    np.testing.assert_array_equal(out, plain)


def test_a_channel_is_the_step_of_that_number():
    lat, lon = noise.microdegrees(np.linspace(50, 40, 7), np.linspace(0, 5, 9))
    rows, columns = (np.ascontiguousarray(each.ravel()) for each in np.meshgrid(lat, lon, indexing="ij"))
    out = np.empty((6, rows.size), np.float32)
    noise.fill_channels(out, KEY.word, rows, columns, NoiseDistribution.NORMAL)
    for step in range(6):
        field_of_step = np.empty((7, 9), np.float32)
        noise.fill_normals(field_of_step, KEY, lat, lon, step)
        np.testing.assert_array_equal(out[step].reshape(7, 9), field_of_step)


def test_uniform_numbers_are_uniform_and_below_1():
    lat = np.arange(100_000, dtype=np.int32)
    out = np.empty((4, lat.size), np.float32)
    noise.fill_channels(out, KEY.word, lat, np.zeros_like(lat), NoiseDistribution.UNIFORM)
    assert out.min() >= 0
    assert out.max() < 1
    assert (out * 2**24 == np.rint(out * 2**24)).all()
    assert min(stats.kstest(channel, "uniform").pvalue for channel in out) > 1e-3
    assert np.abs(np.corrcoef(out) - np.eye(4)).max() < 0.02


def test_arrays_of_other_shapes_are_refused():
    lat = np.zeros(3, np.int32)
    for out in (np.empty(3, np.float32), np.empty((2, 4), np.float32), np.empty((2, 3), np.float64)):
        with pytest.raises(ValueError, match="out"):
            _core.fill_channels(1, lat, lat, False, out, 1)
