"""The compiled gather, scatter and filling equal their definition in plain NumPy, for any shape and boundary."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfs_sr import _core
from gfs_sr.data.grid import Boundary, Registration
from gfs_sr.data.transforms import Transform
from gfs_sr.runtime import reference, tiling
from gfs_sr.runtime.tiling import AxisPlan, Plan

INFINITY = np.float32(np.inf)
PRECISIONS = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@st.composite
def axes(draw, boundary, longest, even=False):
    length = draw(st.integers(1, longest // 2)) * 2 if even else draw(st.integers(1, longest))
    poles = (None, None)
    if boundary is Boundary.POLE:
        offsets = st.sampled_from([0, 1, None])
        poles = draw(st.tuples(offsets, offsets).filter(lambda ends: length > 1 or ends != (0, 0)))
    core, before, after = (
        draw(st.integers(1, longest + 2)),
        draw(st.integers(0, longest)),
        draw(st.integers(0, longest)),
    )
    return AxisPlan(length, core, before, after, boundary, poles)


@st.composite
def plans(draw):
    lat_boundary = draw(st.sampled_from([Boundary.EDGE, Boundary.POLE]))
    over_poles = lat_boundary is Boundary.POLE
    lon_boundary = Boundary.PERIODIC if over_poles else draw(st.sampled_from([Boundary.EDGE, Boundary.PERIODIC]))
    return Plan(
        draw(axes(Boundary.EDGE, 4)), draw(axes(lat_boundary, 9)), draw(axes(lon_boundary, 12, even=over_poles))
    )


@st.composite
def jobs(draw):
    """A plan, values with holes, per-channel numbers, a time tile, and some spatial tiles in some order."""
    plan = draw(plans())
    channels = draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    field = random.normal(scale=50, size=(plan.time.length, channels, plan.lat.length, plan.lon.length))
    field[random.random(field.shape) < 0.1] = np.nan
    numbers = {
        "offset": random.normal(scale=20, size=channels).astype(np.float32),
        "scale": random.uniform(0.01, 3, size=channels).astype(np.float32),
        "transform": random.integers(len(Transform), size=channels).astype(np.uint8) if random.integers(2) else None,
    }
    flip = random.random(channels) < 0.5
    time_tile = draw(st.integers(0, plan.time.tiles - 1))
    tiles = random.permutation(plan.spatial_tiles)[: draw(st.integers(1, plan.spatial_tiles))]
    return plan, field.astype(np.float32), numbers, flip, time_tile, tiles, random


def empty_tiles(plan, channels, count, dtype=np.float32):
    return np.zeros((count, plan.tile_shape[0], channels, *plan.tile_shape[1:]), dtype)


def plain(channels):
    return {"offset": np.zeros(channels, np.float32), "scale": np.ones(channels, np.float32)}


def unbounded(channels):
    return {"low": np.full(channels, -INFINITY), "high": np.full(channels, INFINITY)}


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=60, deadline=None)
@given(job=jobs(), with_fill=st.booleans())
def test_gather_equals_the_reference(precision, job, with_fill):
    plan, field, numbers, flip, time_tile, tiles, random = job
    fill = random.normal(size=field.shape[1]).astype(np.float32) if with_fill else None
    out = empty_tiles(plan, field.shape[1], tiles.size, PRECISIONS[precision])
    window = plan.window(time_tile)
    frames = [field[index] for index in window]
    tiling.gather(frames, window.start, plan, time_tile, tiles, **numbers, flip=flip, fill=fill, out=out)
    expected = reference.gather(frames, window.start, plan, time_tile, tiles, **numbers, flip=flip, fill=fill)
    expected = expected.astype(out.dtype).astype(np.float32)  # NumPy does not know the NaN of bfloat16
    np.testing.assert_array_equal(out.astype(np.float32), expected)


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=60, deadline=None)
@given(job=jobs(), data=st.data())
def test_scatter_equals_the_reference(precision, job, data):
    plan, field, numbers, _, time_tile, tiles, random = job
    channels = field.shape[1]
    s, r = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    registration = data.draw(st.sampled_from(list(Registration)))
    extents = (r * plan.time.length, s * plan.lat.length, s * plan.lon.length)
    origin = tuple(data.draw(st.integers(0, extent - 1)) for extent in extents)
    size = [data.draw(st.integers(1, extent - first)) for extent, first in zip(extents, origin, strict=True)]
    core = plan.core_shape
    fine = random.normal(scale=5, size=(tiles.size, r * core[0], channels, s * core[1], s * core[2]))
    window = plan.window(time_tile)
    options = {
        **numbers,
        "scale_factor": s,
        "time_factor": r,
        "low": np.full(channels, -30, np.float32),
        "high": np.full(channels, 30, np.float32),
        "registration": registration,
        "origin": origin,
        "mask": [random.random(field.shape[1:]) < 0.2 for _ in window] if data.draw(st.booleans()) else None,
        "bucket": random.random(channels) < 0.5,
    }
    fine = fine.astype(PRECISIONS[precision])
    out = np.full((size[0], channels, *size[1:]), 7, np.float32)
    expected = out.copy()
    tiling.scatter(fine, plan, time_tile, tiles, out=out, **options)
    reference.scatter(fine, plan, time_tile, tiles, out=expected, **options)
    np.testing.assert_array_equal(out, expected)


def amounts(size):
    """Nothing, specks, drizzle, cloudbursts, and what is no amount."""
    random = np.random.default_rng(7)
    powers = 10 ** random.uniform(-9, 4, size - 8)
    odd = [0.0, -0.0, -1e-7, -5.0, np.nan, 1e-30, 3.4e38, 0.41421357]
    return np.concatenate([powers, odd]).astype(np.float32)


@pytest.mark.parametrize("transform", list(Transform))
@pytest.mark.parametrize("size", [9, 64, 1031])  # below a vector, whole vectors, and a rest
def test_transformed_amounts_are_those_of_the_reference_to_the_bit(transform, size):
    field = amounts(size)[None, None, None]
    plan = Plan(AxisPlan(1, 1, 0, 0), AxisPlan(1, 1, 0, 0), AxisPlan(size, size, 0, 0))
    codes = np.array([transform.code], np.uint8)
    numbers = {"offset": np.array([0.1], np.float32), "scale": np.array([0.5], np.float32), "transform": codes}
    tiles = empty_tiles(plan, 1, 1)
    tiling.gather(field, 0, plan, 0, [0], **numbers, flip=np.array([False]), out=tiles)
    expected = reference.gather(field, 0, plan, 0, [0], **numbers, flip=np.array([False]))
    np.testing.assert_array_equal(tiles.view(np.uint32), expected.view(np.uint32))
    amount = np.maximum(field, 0).astype(np.float64)  # NumPy's own functions are another witness
    witness = {"linear": field, "log10_1p": np.log1p(amount) / np.log(10), "sqrt": np.sqrt(amount)}[transform]
    np.testing.assert_allclose(tiles[0], (witness - 0.1) * 0.5, rtol=3e-7, atol=1e-8)  # rounded thrice to float32
    back, again = (np.zeros((1, 1, 1, size), np.float32) for _ in range(2))
    options = {**numbers, "scale": np.array([2], np.float32), "scale_factor": 1, "time_factor": 1, **unbounded(1)}
    tiling.scatter(tiles, plan, 0, [0], **options, registration=Registration.CELL, out=back)
    reference.scatter(tiles, plan, 0, [0], **options, registration=Registration.CELL, out=again)
    np.testing.assert_array_equal(back.view(np.uint32), again.view(np.uint32))


@pytest.mark.parametrize("transform", [Transform.LOG10_1P, Transform.SQRT])
def test_s004_25_inverse_scaled_precipitation_is_never_negative_and_comes_back(transform):
    field = amounts(1031)[None, None, None]
    plan = Plan(AxisPlan(1, 1, 0, 0), AxisPlan(1, 1, 0, 0), AxisPlan(1031, 1031, 0, 0))
    codes = np.array([transform.code], np.uint8)
    tiles, out = empty_tiles(plan, 1, 1), np.zeros_like(field)
    tiling.gather(field, 0, plan, 0, [0], **plain(1), flip=np.array([False]), transform=codes, out=tiles)
    options = {"scale_factor": 1, "time_factor": 1, **plain(1), **unbounded(1), "registration": Registration.CELL}
    tiling.scatter(tiles, plan, 0, [0], **options, transform=codes, out=out)
    valid = np.isfinite(field) & (field < 1e38)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(field))
    # float32 keeps the logarithm g to half a unit in its last place, 6e-8 g, which is 6e-8 g ln 10 (1 + x) of x
    rain = np.maximum(field[valid], 0).astype(np.float64)
    bent = transform.forward(rain)
    slack = 1.3e-7 * (bent * np.log(10) * (1 + rain) + rain)
    assert (np.abs(out[valid] - rain) <= slack).all()
    tiles[...] = np.linspace(-3, 1, 1031)  # a network may say what no rain is
    tiling.scatter(tiles, plan, 0, [0], **options, transform=codes, out=out)
    assert (out >= 0).all()
    assert (out[..., :773] == 0).all()


@settings(max_examples=150, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), periodic=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_filling_equals_the_reference(height, width, periodic, seed):
    random = np.random.default_rng(seed)
    frame = random.normal(size=(2, height, width)).astype(np.float32)
    frame[random.random(frame.shape) < random.random()] = np.nan
    for ours, expected in zip(
        tiling.fill_nearest(frame, periodic), reference.fill_nearest(frame, periodic), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


@settings(max_examples=60, deadline=None)
@given(job=jobs(), s=st.integers(1, 3), r=st.integers(1, 3), threads=st.integers(1, 3))
def test_an_identity_network_returns_the_field(job, s, r, threads):
    plan, field, numbers, flip, *_ = job
    channels = field.shape[1]
    tiles = np.arange(plan.spatial_tiles)
    out = np.full((r * plan.time.length, channels, s * plan.lat.length, s * plan.lon.length), 123, np.float32)
    numbers = {**plain(channels), "offset": numbers["offset"]}
    for time_tile in range(plan.time.tiles):
        coarse = empty_tiles(plan, channels, tiles.size)
        tiling.gather(field, 0, plan, time_tile, tiles, **numbers, flip=flip, out=coarse, threads=threads)
        inner = [slice(axis.before, axis.before + axis.core) for axis in (plan.time, plan.lat, plan.lon)]
        core = coarse[:, inner[0], :, inner[1], inner[2]]
        fine = np.ascontiguousarray(core.repeat(r, 1).repeat(s, 3).repeat(s, 4))
        tiling.scatter(
            fine,
            plan,
            time_tile,
            tiles,
            scale_factor=s,
            time_factor=r,
            **numbers,
            **unbounded(channels),
            registration=Registration.CELL,
            out=out,
            threads=threads,
        )
    # subtracting and adding the offset rounds twice
    np.testing.assert_allclose(out, field.repeat(r, 0).repeat(s, 2).repeat(s, 3), atol=2e-5)


@settings(max_examples=100, deadline=None)
@given(plan=plans())
def test_cores_cover_each_cell_once(plan):
    for axis in (plan.time, plan.lat, plan.lon):
        cores = [np.arange(t * axis.core, min((t + 1) * axis.core, axis.length)) for t in range(axis.tiles)]
        np.testing.assert_array_equal(np.concatenate(cores), np.arange(axis.length))
        assert all(core.size for core in cores)
        for t, core in enumerate(cores):
            sources, crossed = reference.sources(axis, t)
            inner = slice(axis.before, axis.before + core.size)
            np.testing.assert_array_equal(sources[inner], core)
            assert not crossed[inner].any()


@pytest.mark.parametrize("seed", range(5))
def test_rolling_the_longitudes_rolls_the_tiles(seed):
    random = np.random.default_rng(seed)
    field = random.normal(size=(1, 2, 5, 12)).astype(np.float32)
    plan = Plan(
        AxisPlan(1, 1, 0, 0),
        AxisPlan(5, 5, 4, 3, Boundary.POLE, (0, 1)),
        AxisPlan(12, 12, 3, 14, Boundary.PERIODIC),
    )
    options = {**plain(2), "flip": np.array([True, False])}
    straight, rolled = empty_tiles(plan, 2, 1), empty_tiles(plan, 2, 1)
    tiling.gather(field, 0, plan, 0, [0], out=straight, **options)
    tiling.gather(np.ascontiguousarray(np.roll(field, -1, axis=-1)), 0, plan, 0, [0], out=rolled, **options)
    np.testing.assert_array_equal(rolled[..., :-1], straight[..., 1:])


@pytest.mark.parametrize(("offset", "rows"), [(0, [2, 1, 0, 1, 2]), (1, [1, 0, 0, 1, 2])])
def test_rows_beyond_a_pole_are_mirrored_turned_and_flipped(offset, rows):
    column = np.arange(8)
    field = (10.0 * np.arange(3)[:, None] + column).astype(np.float32)[None, None].repeat(2, 1) + 1
    plan = Plan(
        AxisPlan(1, 1, 0, 0),
        AxisPlan(3, 3, 2, 0, Boundary.POLE, (offset, None)),
        AxisPlan(8, 8, 0, 0, Boundary.PERIODIC),
    )
    out = empty_tiles(plan, 2, 1)
    tiling.gather(field, 0, plan, 0, [0], **plain(2), flip=np.array([True, False]), out=out)
    np.testing.assert_array_equal(out[0, 0, 1, :2], 10 * np.array(rows[:2])[:, None] + (column + 4) % 8 + 1)
    np.testing.assert_array_equal(out[0, 0, 0, :2], -out[0, 0, 1, :2])
    np.testing.assert_array_equal(out[0, 0, :, 2:], field[0])


def test_a_scalar_field_smooth_over_the_pole_stays_smooth():
    # x on the unit sphere is linear through the pole, so its second difference across the pole row is small
    lat = np.linspace(90, -90, 37)
    lon = np.arange(72) * 5.0
    x = np.cos(np.deg2rad(lat))[:, None] * np.cos(np.deg2rad(lon))
    plan = Plan(
        AxisPlan(1, 1, 0, 0), AxisPlan(37, 37, 3, 3, Boundary.POLE, (0, 0)), AxisPlan(72, 72, 0, 0, Boundary.PERIODIC)
    )
    out = empty_tiles(plan, 1, 1)
    tiling.gather(x[None, None].astype(np.float32), 0, plan, 0, [0], **plain(1), flip=np.array([False]), out=out)
    assert np.abs(np.diff(out[0, 0, 0], n=2, axis=0)).max() < 0.009  # (5 degrees)^2 = 0.0076


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_any_number_of_threads_gives_the_same(threads, dtype):
    random = np.random.default_rng(threads)
    field = random.normal(size=(3, 2, 90, 360)).astype(np.float32)
    plan = Plan(
        AxisPlan(3, 3, 1, 1), AxisPlan(90, 40, 9, 9, Boundary.POLE, (1, 1)), AxisPlan(360, 100, 9, 9, Boundary.PERIODIC)
    )
    flip = np.array([True, False])
    tiles = np.arange(plan.spatial_tiles)
    out = empty_tiles(plan, 2, tiles.size, dtype)
    tiling.gather(field, 0, plan, 0, tiles, **plain(2), flip=flip, out=out, threads=threads)
    expected = reference.gather(field, 0, plan, 0, tiles, **plain(2), flip=flip).astype(dtype)
    np.testing.assert_array_equal(out, expected)
    fine = np.ascontiguousarray(expected[:, 1:-1, :, 9:-9, 9:-9].repeat(2, 3).repeat(2, 4))
    result = np.zeros((3, 2, 180, 720), np.float32)
    tiling.scatter(
        fine,
        plan,
        0,
        tiles,
        scale_factor=2,
        time_factor=1,
        **plain(2),
        **unbounded(2),
        registration=Registration.CELL,
        out=result,
        threads=threads,
    )
    np.testing.assert_array_equal(result, field.astype(dtype).astype(np.float32).repeat(2, 2).repeat(2, 3))


def test_large_buffers_written_past_the_caches_hold_the_same():
    field = np.random.default_rng(0).normal(size=(2, 3, 180, 360)).astype(np.float32)
    plan = Plan(AxisPlan(2, 2, 7, 7), AxisPlan(180, 61, 7, 8), AxisPlan(360, 97, 5, 6, Boundary.PERIODIC))
    tiles = np.arange(plan.spatial_tiles)
    for dtype in (np.float32, np.float16):
        flat = np.full(tiles.size * 16 * 3 * plan.lat.extent * plan.lon.extent + 3, 99, dtype)
        out = flat[1:-2].reshape(tiles.size, 16, 3, plan.lat.extent, plan.lon.extent)  # off the cache lines
        assert out.nbytes > 8 * 2**20
        tiling.gather(field, 0, plan, 0, tiles, **plain(3), flip=np.zeros(3, bool), out=out)
        expected = reference.gather(field, 0, plan, 0, tiles, **plain(3), flip=np.zeros(3, bool))
        np.testing.assert_array_equal(out, expected.astype(dtype))
        assert flat[0] == flat[-1] == flat[-2] == 99


def test_changing_values_under_a_mask_changes_nothing_else():
    random = np.random.default_rng(3)
    frame = random.normal(size=(1, 20, 30)).astype(np.float32)
    hole = np.zeros(frame.shape, bool)
    hole[:, 4:9, 10:17] = True
    plan = Plan(AxisPlan(1, 1, 0, 0), AxisPlan(20, 7, 3, 3), AxisPlan(30, 9, 3, 3))
    tiles = np.arange(plan.spatial_tiles)
    filled, mask = tiling.fill_nearest(np.where(hole, np.float32(np.nan), frame), False)
    np.testing.assert_array_equal(mask, hole)
    coarse = empty_tiles(plan, 1, tiles.size)
    tiling.gather([filled], 0, plan, 0, tiles, **plain(1), flip=np.array([False]), out=coarse)
    assert np.isfinite(coarse).all()
    assert np.isin(coarse, frame[~hole]).all()  # no value of the hole is anywhere
    out = np.zeros((1, 1, 60, 90), np.float32)
    fine = np.ascontiguousarray(coarse[..., 3:-3, 3:-3].repeat(3, 3).repeat(3, 4))
    tiling.scatter(
        fine,
        plan,
        0,
        tiles,
        scale_factor=3,
        time_factor=1,
        **plain(1),
        **unbounded(1),
        registration=Registration.NODE,
        mask=[mask],
        out=out,
    )
    expected = np.zeros((60, 90), bool)
    expected[11:26, 29:50] = True  # coarse row 4 lies on fine row 12, and 11 to 13 are nearest to it
    np.testing.assert_array_equal(np.isnan(out[0, 0]), expected)


def test_a_frame_masked_in_time_masks_the_fine_frames_nearest_to_it():
    plan = Plan(AxisPlan(3, 3, 0, 1), AxisPlan(1, 1, 0, 0), AxisPlan(1, 1, 0, 0))
    masks = [np.full((2, 1, 1), k == 1, np.uint8) for k in range(3)]
    out = np.zeros((18, 2, 1, 1), np.float32)
    tiling.scatter(
        np.zeros((1, 18, 2, 1, 1), np.float32),
        plan,
        0,
        [0],
        scale_factor=1,
        time_factor=6,
        **plain(2),
        **unbounded(2),
        registration=Registration.NODE,
        mask=masks,
        bucket=np.array([False, True]),
        out=out,
    )
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(out[:, 0, 0, 0])), np.arange(3, 9))  # around frame 6
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(out[:, 1, 0, 0])), np.arange(6, 12))  # its bucket


@pytest.mark.parametrize("core", [1, 3])
def test_without_look_ahead_a_fine_frame_is_masked_by_the_last_frame_seen(core):
    plan = Plan(AxisPlan(3, core, 0, 0), AxisPlan(1, 1, 0, 0), AxisPlan(1, 1, 0, 0))
    out = np.zeros((18, 1, 1, 1), np.float32)
    for time_tile in range(plan.time.tiles):
        tiling.scatter(
            np.zeros((1, 6 * core, 1, 1, 1), np.float32),
            plan,
            time_tile,
            [0],
            scale_factor=1,
            time_factor=6,
            **plain(1),
            **unbounded(1),
            registration=Registration.NODE,
            mask=[np.full((1, 1, 1), k == 1, np.uint8) for k in plan.window(time_tile)],
            out=out,
        )
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(out)), np.arange(6, 12))


def test_filling_goes_around_the_globe_and_leaves_an_empty_channel():
    frame = np.full((2, 1, 6), np.nan, np.float32)
    frame[0, 0, [1, 3]] = [1, 3]
    np.testing.assert_array_equal(tiling.fill_nearest(frame, True)[0][0, 0], [1, 1, 1, 3, 3, 3])
    np.testing.assert_array_equal(tiling.fill_nearest(frame, False)[0][0, 0], [1, 1, 1, 3, 3, 3])
    frame[0, 0, [1, 3]] = np.nan
    frame[0, 0, [0, 3]] = [0, 3]
    np.testing.assert_array_equal(tiling.fill_nearest(frame, True)[0][0, 0], [0, 0, 3, 3, 3, 0])
    assert np.isnan(tiling.fill_nearest(frame, True)[0][1]).all()


def test_halves_without_the_processors_help_equal_numpy():
    with np.errstate(over="ignore", invalid="ignore"):
        halves = np.arange(2**16, dtype=np.uint16)
        floats = halves.view(np.float16).astype(np.float32)
        np.testing.assert_array_equal(_core.from_half_portable(halves), floats)
        ordered = np.sort(floats[np.isfinite(floats)])
        between = ((ordered[1:].astype(np.float64) + ordered[:-1]) / 2).astype(np.float32)  # ties
        odd = np.array([65504, 65519.99, 65520, 1e30, -1e30, 1e-30, 2**-25, np.inf, -np.inf, np.nan], np.float32)
        nearby = [np.nextafter(between, INFINITY), np.nextafter(between, -INFINITY)]
        cases = np.concatenate([floats, between, *nearby, odd])
        expected = cases.astype(np.float16)
    np.testing.assert_array_equal(_core.to_half_portable(cases).view(np.float16), expected)
    np.testing.assert_array_equal(np.signbit(_core.to_half_portable(cases).view(np.float16)), np.signbit(expected))


@pytest.mark.parametrize("boundary", list(Boundary))
def test_sources_equal_the_reference_far_beyond_the_ends(boundary):
    poles = [(0, 0), (1, 1), (0, 1), (1, None), (None, 0)] if boundary is Boundary.POLE else [(None, None)]
    for length in (2, 3, 7):
        for offsets in poles:
            axis = AxisPlan(length, length, 40, 40, boundary, offsets)
            sources, crossed = reference.sources(axis, 0)
            ours = [_core.source_of(axis.compiled, index) for index in range(-40, length + 40)]
            assert ours == list(zip(sources.tolist(), crossed.tolist(), strict=True))
            wider = replace(axis, core=length + 1)
            assert wider.tiles == 1
