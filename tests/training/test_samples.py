import numpy as np
import pytest

from gfs_sr.contract import Scaling
from gfs_sr.data.coarsen import block_mean, gauss_decimate
from gfs_sr.data.grid import Registration
from gfs_sr.data.solar import solar_components
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.field_set import FieldSet, read_packed, write_packed
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.smoothed import SmoothedFields
from gfs_sr.training.windows import View, axis_window, draw_times, generator

S = 4


@pytest.fixture(scope="module")
def fields() -> FieldSet:
    rng = np.random.default_rng(0)
    times = np.datetime64("2024-01-01", "ns") + np.arange(13) * np.timedelta64(1, "h")
    return FieldSet(
        "a", "a", ("t2m", "u10"), rng.standard_normal((2, 13, 41, 50)).astype(np.float32), times,
        np.linspace(50, 40, 41), np.linspace(5, 17.25, 50),
    )  # fmt: skip


def task(registration: Registration, **changes: object) -> Task:
    facts: dict[str, object] = {
        "variables": ("t2m", "u10"), "scaling": {name: Scaling(mean=0, sd=1) for name in ("t2m", "u10")},
        "registration": registration, "scale_factor": S, "time_factor": 3, "context": Reach.space(2) + Reach(1, 2),
        "one_by_one": False, "statics": (), "sun": False, "fractions_given": False,
    }  # fmt: skip
    return Task(**(facts | changes))


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("origin", [0, 3])
def test_coarse_values_of_a_window_are_those_of_the_coarsened_field(fields, registration, origin):
    window = axis_window(41, 2, origin, 4, 1, 1, S, registration)
    everywhere = fields.coarse_everywhere(registration, S)[0, 0]
    shifted = fields.values[0, 0].astype(np.float64)
    if registration is Registration.NODE:
        truth = gauss_decimate(shifted, 3.0, 1)[origin::S, 0]
    else:
        truth = block_mean(shifted[origin:], S, np.cos(np.deg2rad(fields.lat[origin:])), crop=True)[:, 0]
    np.testing.assert_allclose(everywhere[window.coarse, 0], truth[1:7], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(window.fine, origin + S * 2 + np.arange(S * 4))


def test_fine_cells_beyond_the_hull_do_not_count():
    window = axis_window(41, 7, 0, 4, 0, 0, S, Registration.NODE)  # 11 coarse points: 0, 4, ... 40
    assert window.valid.tolist() == [True] * 13 + [False] * 3
    cells = axis_window(41, 0, 0, 4, 0, 0, S, Registration.CELL)
    assert cells.valid.tolist() == [False] * 2 + [True] * 14  # before the center of the first cell


@pytest.mark.parametrize("registration", list(Registration))
def test_a_sample_is_the_same_for_the_same_key_and_another_for_another(fields, registration):
    sampler = Sampler([fields], task(registration), StreamConfig(patch=3, intervals=2))
    one, again, other = (sampler.draw(generator(1, 2, key)) for key in (3, 3, 4))
    for name, array in one.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(one["coarse"], other["coarse"])
    assert one["coarse"].shape == (2 + 3, 2, 7, 7)
    assert one["fine"].shape == one["mask"].shape == (6, 2, 12, 12)


def test_frames_of_a_sample_are_those_of_the_coarse_interval():
    for index in range(20):
        times = draw_times(generator(index), 13, 2, 3, 1, 2)
        assert np.array_equal(times.fine[::3], times.coarse[1:3])
        assert np.array_equal(np.diff(times.fine), np.ones(5))


def test_mirrors_turn_vectors_round():
    field = np.arange(6.0).reshape(2, 3)
    view = View(north_south=True, east_west=True, transposed=True)
    np.testing.assert_array_equal(view.of(field), field[::-1, ::-1].T)
    assert (view.sign("u10"), view.sign("v10"), view.sign("t2m")) == (-1, -1, 1)
    assert (View(east_west=True).sign("v@850"), View(east_west=True).sign("u@850")) == (1, -1)


def test_the_sun_of_a_mirrored_sample_is_the_sun_of_its_cells(fields):
    suns = task(Registration.NODE, one_by_one=True, sun=True, fractions_given=True)
    sampler = Sampler([fields], suns, StreamConfig(patch=3, intervals=1, fractions=2))
    lat, lon = fields.positions()
    everywhere = solar_components(fields.times, lat, lon).astype(np.float32)
    known = {vector.tobytes() for vector in np.moveaxis(everywhere, 1, -1).reshape(-1, 3)}
    found = 0
    for index in range(8):
        sample = sampler.draw(generator(index))
        cells = np.moveaxis(sample["predictor_coarse"], 1, -1).reshape(-1, 3)
        if cells.any():  # a few samples are told nothing of the sun
            assert {np.ascontiguousarray(vector).tobytes() for vector in cells} <= known
            found += 1
    assert found > 4


def test_gaps_are_filled_in_the_coarse_field_and_masked_in_the_truth(fields):
    values = fields.values.copy()
    values[:, :, 18:22, 18:22] = np.nan
    gappy = FieldSet("b", "b", fields.variables, values, fields.times, fields.lat, fields.lon)
    sampler = Sampler([gappy], task(Registration.NODE), StreamConfig(patch=9, intervals=1))
    sample = sampler.draw(generator(0), augment=False)
    assert np.isfinite(sample["coarse"]).all()
    assert np.isfinite(sample["fine"]).all()
    assert not sample["mask"].all()


def test_a_packed_set_is_read_back_within_its_sixteen_bits(tmp_path, fields):
    values = fields.values.copy()
    values[0, 0, 0, :3] = np.nan
    gappy = FieldSet("b-0", "b", fields.variables, values, fields.times, fields.lat, None, True, {"licence": "free"})
    digest = write_packed([fields, gappy], tmp_path / "set.npz")
    (first, second), again = read_packed(tmp_path / "set.npz")
    assert again == digest
    step = 1 / 2000  # of a standard deviation of 1; finer than a 65,534th of the range is not to be had
    np.testing.assert_allclose(first.values, fields.values, rtol=0, atol=0.51 * step)
    np.testing.assert_array_equal(np.isnan(second.values), np.isnan(values))
    np.testing.assert_array_equal(first.times, fields.times)
    np.testing.assert_array_equal(first.lat, fields.lat)
    assert (second.series, second.lon, dict(second.provenance)) == (True, None, {"licence": "free"})
    write_packed([fields], tmp_path / "other.npz")
    assert read_packed(tmp_path / "other.npz")[1] != digest


@pytest.mark.parametrize("registration", list(Registration))
def test_a_series_smaller_than_one_coarse_cell_is_drawn_with_the_terrain_of_its_cells(registration):
    times = np.datetime64("2024-01-01", "ns") + np.arange(13) * np.timedelta64(1, "h")
    values = np.random.default_rng(0).standard_normal((1, 13, 2, 3)).astype(np.float32)
    tiny = FieldSet("a", "a", ("t2m",), values, times, np.array([47.0, 46.75]), np.array([8.0, 8.25, 8.5]), series=True)
    scaling = {name: Scaling(mean=0, sd=1) for name in ("t2m", "orog", "lsm")}
    facts = {"variables": ("t2m",), "scaling": scaling, "one_by_one": True, "statics": ("orog", "lsm")}
    stream = StreamConfig(kind="time", patch=2, intervals=1, series=True)
    sample = Sampler([tiny], task(registration, **facts), stream).draw(generator(0), augment=False)
    heights = tiny.statics(("orog",))[0]
    assert np.isin(sample["static_coarse"][0, 0], heights).all()
    assert heights.max() > 300  # the Alps
    np.testing.assert_array_equal(sample["fine"][0, 0], sample["coarse"][1, 0, 2:4, 2:4])


def test_coarse_intervals_longer_than_half_a_day_are_not_drawn(fields):
    facts = task(Registration.NODE)
    times = fields.times[0] + 8 * (fields.times - fields.times[0])
    slow = FieldSet("a", "a", fields.variables, fields.values, times, fields.lat, fields.lon)
    assert Sampler([fields], facts, StreamConfig(patch=3)).interval_hours() == {3.0}
    assert not Sampler([slow], facts, StreamConfig(patch=3)).sets
    assert Sampler([slow], facts, StreamConfig(patch=3, longest_hours=24)).interval_hours() == {24.0}


def test_a_network_that_refines_space_alone_is_given_hours_in_a_row(fields):
    """What diffusion in time learns of: fine frames that follow each other, each under its own coarse one."""
    facts = task(Registration.NODE, time_factor=1, context=Reach(), sigma=0.0)
    stream = StreamConfig(patch=3, intervals=6, longest_hours=1)
    sample = Sampler([fields], facts, stream).draw(generator(0), augment=False)
    assert sample["fine"].shape == (6, 2, 3 * S, 3 * S)
    assert sample["coarse"].shape == (6, 2, 3, 3)
    np.testing.assert_allclose(sample["coarse"], sample["fine"][..., ::S, ::S], atol=1e-6)
    first = next(t for t in range(8) if np.isin(sample["fine"][0, 0, 0, 0], fields.values[0, t]))
    for step, frame in enumerate(sample["fine"]):
        assert np.isin(frame, fields.values[:, first + step]).all()
    times = fields.times[0] + 3 * (fields.times - fields.times[0])
    slow = FieldSet("b", "b", fields.variables, fields.values, times, fields.lat, fields.lon)
    assert not Sampler([slow], facts, stream).sets


def test_every_promised_variable_of_every_source_is_validated_alike(fields):
    large = FieldSet("b", "b", ("u10", "q"), np.zeros((2, 13, 90, 90), np.float32), fields.times, None, None)
    facts = task(Registration.NODE, one_by_one=True)
    sampler = Sampler([fields, large], facts, StreamConfig(patch=3), own_only=True)
    np.testing.assert_allclose(sampler.chances, [2 / 3, 1 / 3])
    shares = Sampler([fields, large], facts, StreamConfig(patch=3)).chances
    assert shares[1] > shares[0]  # training prefers the larger field


def test_a_smoothed_truth_is_the_blurred_field_under_its_own_coarse_one(fields):
    stream = StreamConfig(kind="space", patch=3, smoothed={2.0: 1.0})
    winds = FieldSet("w", "w", ("u10", "v10"), fields.values, fields.times, fields.lat, fields.lon)
    facts = task(
        Registration.NODE, variables=("u10", "v10"), scaling={n: Scaling(mean=0, sd=1) for n in ("u10", "v10")}
    )
    sample = Sampler([winds], facts, stream).draw(generator(3))
    blurred = gauss_decimate(winds.values, 2.0, 1).astype(np.float32)
    twin = FieldSet("b", "b", winds.variables, blurred, winds.times, winds.lat, winds.lon)
    key = generator(3)
    expected = Sampler([twin], facts, StreamConfig(kind="space", patch=3, smoothed={2.0: 0.0, 3.0: 0.0})).draw(key)
    for name in ("coarse", "fine", "mask"):
        np.testing.assert_allclose(sample[name], expected[name], rtol=0, atol=1e-5)
    plain = Sampler([winds], facts, stream).draw(generator(3), augment=False)
    assert np.std(plain["fine"]) > 2 * np.std(sample["fine"])


def test_what_follows_the_ground_is_never_smoothed(fields):
    sampler = Sampler([fields], task(Registration.NODE), StreamConfig(kind="space", patch=3, smoothed={2.0: 1.0}))
    sample = sampler.draw(generator(0))
    assert np.isin(sample["fine"][sample["mask"]], [-fields.values, fields.values]).all()


def test_gaps_stay_gaps_in_a_smoothed_truth(fields):
    values = fields.values.copy()
    values[:, :, 18:22, 18:22] = np.nan
    gappy = FieldSet("b", "b", fields.variables, values, fields.times, fields.lat, fields.lon)
    smooth = SmoothedFields(gappy, 2.0)
    everywhere = [np.arange(length) for length in gappy.shape]
    np.testing.assert_array_equal(np.isnan(smooth.read([1], *everywhere)[0]), np.isnan(values[1]))
    assert np.isfinite(smooth.read_filled([1], *everywhere)).all()


@pytest.mark.parametrize("seed", range(8))
def test_what_is_taken_by_slices_is_what_the_indices_name(seed):
    from gfs_sr.training.fields import taken

    rng = np.random.default_rng(seed)
    values = rng.standard_normal((3, 7, 9, 11)).astype(np.float32)
    kinds = [
        lambda size: np.arange(size),
        lambda size: np.arange(size)[::-1],
        lambda size: np.arange(0, size, 2),
        lambda size: np.array([size - 1]),
        lambda size: np.clip(np.arange(-2, size), 0, size - 1),
        lambda size: rng.integers(size, size=4),
        lambda size: np.arange(size - 1, -1, -2),
    ]
    indices = [kinds[rng.integers(len(kinds))](size) for size in values.shape]
    np.testing.assert_array_equal(taken(values, *indices), values[np.ix_(*indices)])
