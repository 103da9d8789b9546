from dataclasses import replace

import numpy as np
import pytest

from gfs_sr.evaluation.contest import Contest
from gfs_sr.evaluation.intervals import Resampler, interval_of, skill_draws


def contest(model, rival, variable="t2m", place="here"):
    """From squared errors (units, blocks) of one model and one interpolation, every cell weighing 1."""

    def sums(squares):
        return np.stack([np.ones_like(squares), squares], axis=2)[:, None]

    units = len(model)
    return Contest(
        task="joint",
        variable=variable,
        lead_hours=np.arange(float(units)),
        classes={"interpolated": slice(0, units)},
        units=np.arange(units),
        regions=("all",),
        place=place,
        frames={},
        by_region={},
        by_block={"model": sums(model), "bicubic/linear": sums(rival)},
        closures={},
    )


@pytest.fixture
def generator():
    return np.random.Generator(np.random.PCG64(8))


def test_independent_blocks_have_the_interval_of_their_mean(generator):
    squares = generator.exponential(size=(40, 30))
    drawn = Resampler([{"t2m": contest(squares, np.ones((40, 30)))}]).rmse("t2m", "all", "interpolated")
    low, high = interval_of(drawn["model"] ** 2)
    # crossed resampling of independent cells has up to three times the variance of the mean, and never less than it
    sigma = squares.std() / np.sqrt(squares.size)
    assert 2 * 1.96 * sigma < high - low < 2 * 1.96 * sigma * np.sqrt(3) * 1.15
    assert low < squares.mean() < high


def test_errors_that_stay_where_they_are_do_not_become_certain_with_more_frames(generator):
    persistent = np.tile(generator.exponential(size=30), (40, 1))  # over terrain: the same in every frame
    widths = []
    for squares in (persistent, generator.exponential(size=(40, 30))):
        drawn = Resampler([{"t2m": contest(squares, np.ones((40, 30)))}]).rmse("t2m", "all", "interpolated")
        low, high = interval_of(drawn["model"])
        widths.append(high - low)
    assert widths[0] > 3 * widths[1]


def test_model_and_interpolation_are_drawn_together(generator):
    squares = generator.exponential(size=(6, 20))
    drawn = Resampler([{"t2m": contest(0.81 * squares, squares)}]).rmse("t2m", "all", "interpolated")
    low, high = interval_of(skill_draws(drawn, "model", ["bicubic/linear"]))
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


def test_skill_refers_to_the_best_of_each_draw():
    drawn = {"model": np.array([1.0, 1.0]), "a": np.array([2.0, 4.0]), "b": np.array([4.0, 2.0])}
    np.testing.assert_allclose(skill_draws(drawn, "model", ["a", "b"]), 0.5)
    assert skill_draws(drawn, "absent", ["a"]) is None


def test_the_same_seed_draws_the_same_and_variables_share_the_draws(generator):
    squares = generator.exponential(size=(5, 9))
    case = {"t2m": contest(squares, squares), "d2m": contest(squares, squares, "d2m")}
    one, other = Resampler([case]), Resampler([case])
    for variable in case:
        np.testing.assert_array_equal(
            one.rmse("t2m", "all", "interpolated")["model"], other.rmse(variable, "all", "interpolated")["model"]
        )
    assert not np.array_equal(
        one.rmse("t2m", "all", "interpolated")["model"],
        replace(one, seed=1).rmse("t2m", "all", "interpolated")["model"],
    )


def test_few_units_make_no_interval():
    drawn = Resampler([{"t2m": contest(np.ones((2, 3)), np.ones((2, 3)))}]).rmse("t2m", "all", "interpolated")
    assert drawn == {}
    assert interval_of(skill_draws(drawn, "model", ["bicubic/linear"])) is None


def test_many_forecasts_are_drawn_whole(generator):
    level = generator.exponential(size=12)
    cases = [{"t2m": contest(np.full((4, 9), value), np.ones((4, 9)))} for value in level]
    drawn = Resampler(cases).rmse("t2m", "all", "interpolated")["model"] ** 2
    # every forecast is even inside, so the spread is that of means over drawn forecasts alone
    assert drawn.std() == pytest.approx(level.std() / np.sqrt(12), rel=0.15)
