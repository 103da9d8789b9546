"""What lies outside the training envelope, and what is the rounding of a file."""

import numpy as np
import pytest

from gfs_sr.contract import Quantiles
from gfs_sr.runtime.envelope import Envelope
from tests.artifacts import repeat_contract

AMOUNTS = {"tp": Quantiles(low=0.0, median=0.2, high=40.0), "t2m": Quantiles(low=250.0, median=280.0, high=310.0)}


@pytest.mark.parametrize(
    ("variable", "value", "inside"),
    [
        ("tp", -0.004, True),  # the difference of two accumulations, each rounded by its packing
        ("tp", 30.0, True),
        ("tp", 41.0, False),
        ("t2m", 249.0, False),
        ("t2m", 311.0, False),
        ("t2m", 260.0, True),
    ],
)
def test_an_end_of_the_envelope_at_a_physical_bound_is_none(variable, value, inside):
    envelope = Envelope(repeat_contract(envelope=AMOUNTS), (variable,))
    assert envelope.holds(np.full((1, 5, 7), value, np.float32)) == inside
    assert bool(envelope.warnings()) != inside
    if not inside:
        assert f"({AMOUNTS[variable].low:g} to {AMOUNTS[variable].high:g})" in envelope.warnings()[0]
