"""The gate between two engines."""

import numpy as np
import pytest

from export.parity import Batch, measure_parity, require_parity
from gfs_sr.errors import ParityFailed
from gfs_sr.runtime.backends.base import TOLERANCE_SD
from tests.artifacts import repeat_contract


def batch(variables: tuple[str, ...] = ("t2m", "sp"), shape: tuple[int, int, int] = (2, 3, 4)) -> Batch:
    frames, rows, columns = shape
    coarse = np.random.default_rng(3).normal(size=(1, frames, len(variables), rows, columns)).astype(np.float32)
    return Batch({"coarse": coarse}, variables)


def identity(inputs: dict[str, np.ndarray]) -> np.ndarray:
    return inputs["coarse"]


def test_figures_are_in_the_units_of_each_variable() -> None:
    def candidate(inputs: dict[str, np.ndarray]) -> np.ndarray:
        off = inputs["coarse"].astype(np.float64)
        off[:, 0, 0, 0, 0] += 2e-5  # one cell of t2m, in sd
        off[:, :, 1] -= 1e-5  # all cells of sp
        return off

    t2m, sp = measure_parity(repeat_contract(), [batch()], identity, candidate)
    assert (t2m.variable, t2m.units, sp.variable, sp.units) == ("t2m", "K", "sp", "Pa")
    assert t2m.max_abs == pytest.approx(2e-5 * 17.0)
    assert t2m.rmse == pytest.approx(2e-5 * 17.0 / np.sqrt(24))
    assert sp.max_abs == pytest.approx(1e-5 * 9500.0)
    assert sp.rmse == pytest.approx(1e-5 * 9500.0)
    assert (t2m.tolerance, sp.tolerance) == pytest.approx((17.0e-4, 0.95))


def test_the_worst_batch_counts() -> None:
    def candidate(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return inputs["coarse"] + np.float32(1e-2 if inputs["coarse"].shape[1] == 5 else 0)

    batches = [batch(), batch(("sp",), (5, 1, 1)), batch()]
    t2m, sp = measure_parity(repeat_contract(), batches, identity, candidate)
    assert t2m.max_abs == 0
    assert sp.max_abs == pytest.approx(95.0, rel=1e-4)


def test_an_engine_that_reuses_its_output_is_not_compared_with_itself() -> None:
    buffer = np.zeros((1, 2, 2, 3, 4), np.float32)

    def engine(value: float) -> np.ndarray:
        buffer[:] = value
        return buffer

    lines = measure_parity(repeat_contract(), [batch()], lambda _: engine(0.0), lambda _: engine(1.0))
    assert [line.max_abs for line in lines] == [17.0, 9500.0]


@pytest.mark.parametrize("difference", [2e-4, np.nan, np.inf])
def test_a_difference_beyond_the_tolerance_is_refused(difference: float) -> None:
    lines = measure_parity(
        repeat_contract(), [batch()], identity, lambda inputs: inputs["coarse"] + np.float32([[[difference]], [[0]]])
    )
    with pytest.raises(ParityFailed, match="t2m by") as caught:
        require_parity(lines, "c.ckpt")
    assert " sp " not in caught.value.what


@pytest.mark.parametrize("precision", TOLERANCE_SD)
def test_the_tolerance_is_that_of_the_precision(precision: str) -> None:
    contract = repeat_contract(precision=precision)
    allowed = TOLERANCE_SD[precision]
    for factor, passes in ((0.9, True), (1.1, False)):
        lines = measure_parity(
            contract,
            [batch()],
            lambda _: np.zeros((1, 2, 2, 3, 4)),
            lambda _, f=factor: np.full((1, 2, 2, 3, 4), f * allowed),
        )
        if passes:
            require_parity(lines, "c.ckpt")
        else:
            with pytest.raises(ParityFailed):
                require_parity(lines, "c.ckpt")
