"""Engine profiles from the tile plan."""

import pytest

from export.profiles import Profile, check_sizes, parse_batch, parse_tile, plan_profile
from gfs_sr.errors import UsageError
from tests.artifacts import repeat_contract


def test_a_profile_is_one_tile_shape_with_its_halo_and_a_range_of_batches() -> None:
    profile = plan_profile(repeat_contract(), (8, 64, 32), (1, 4, 16))
    coarse = profile.inputs["coarse"]  # halo: 1 frame, 3 rows, 1 column
    assert (coarse.min, coarse.opt, coarse.max) == ((1, 9, 2, 67, 33), (4, 9, 2, 67, 33), (16, 9, 2, 67, 33))


def test_any_subset_of_variables_fits_the_profile() -> None:
    profile = plan_profile(repeat_contract(any_subset=True), (1, 4, 4), (1, 1, 1))
    assert (profile.inputs["variable"].min, profile.inputs["variable"].max) == ((1,), (2,))
    assert (profile.inputs["coarse"].min[2], profile.inputs["coarse"].max[2]) == (1, 2)


def test_what_is_saved_is_read_back() -> None:
    profile = plan_profile(repeat_contract(), (8, 64, 32), (1, 4, 16))
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_options_are_read() -> None:
    assert parse_tile("96") == (8, 96, 96)
    assert parse_tile("4,32,64") == (4, 32, 64)
    assert parse_batch("1,2,3") == (1, 2, 3)


@pytest.mark.parametrize("text", ["", "a", "1,2", "1,2,3,4", "8.5"])
def test_other_tiles_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_tile(text)


@pytest.mark.parametrize("text", ["", "4", "1,2", "1,b,3"])
def test_other_batches_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_batch(text)


@pytest.mark.parametrize(("tile", "batch"), [((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (2, 1, 3)), ((1, 1, 1), (0, 1, 1))])
def test_sizes_that_cannot_be_are_refused(tile: tuple[int, int, int], batch: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        check_sizes(tile, batch)
