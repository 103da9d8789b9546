"""Artifacts whose model units are logarithms and square roots: the whole way through the runtime."""

import numpy as np
import pytest

from gfs_sr.contract import Contract, Scaling
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.runtime.verify import verify_artifact
from tests import fields
from tests.artifacts import make_repeat_artifact

NAMES = ("r2", "wspd")
BENT = {"r2": Scaling(mean=0.0, sd=2.0, transform="log10_1p"), "wspd": Scaling(mean=0.3, sd=15.0, transform="sqrt")}


@pytest.fixture(scope="module")
def bent(tmp_path_factory):
    return make_repeat_artifact(
        tmp_path_factory.mktemp("bent") / "bent", inputs=NAMES, outputs=NAMES, normalization=BENT
    )


def weather(frames=4):
    rng = np.random.default_rng(0)
    values = np.stack([100 * rng.random((frames, 13, 17)), 20 * rng.random((frames, 13, 17))], axis=1)
    values[:, :, 2:4, 5:7] = np.nan
    values[0, :, 8, 8] = 0.0
    grid = Grid(50 - 0.5 * np.arange(13), 5 + 0.5 * np.arange(17))
    return Forecast.from_arrays(values.astype(np.float32), NAMES, grid, fields.times(frames, hours=6))


@pytest.mark.parametrize("tile", [None, 4])
def test_fine_fields_come_back_in_physical_units(bent, tile):
    forecast = weather()
    with Upscaler.open(bent) as upscaler:
        fine = upscaler.upscale_forecast(forecast, Request(extent="full", tile=tile))
    expected = forecast.load().repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(np.isnan(fine.values), np.isnan(expected))
    # fp32 of log10(1 + r2) and of its half round: 2.3·(1 + r2)·2^-23, and for the root 2·wspd·2^-23, a few times
    np.testing.assert_allclose(fine.values[:, 0], expected[:, 0], rtol=0, atol=2e-4)
    np.testing.assert_allclose(fine.values[:, 1], expected[:, 1], rtol=0, atol=2e-5)
    assert (fine.values[0, :, 16:18, 16:18] >= 0).all()


def test_tiled_equals_whole_to_the_bit(bent):
    forecast = weather()
    with Upscaler.open(bent) as upscaler:
        whole, tiled = (
            upscaler.upscale_forecast(forecast, Request(extent="full", tile=tile)).values for tile in (None, 3)
        )
    np.testing.assert_array_equal(whole, tiled)


def test_the_contract_survives_the_artifact_and_the_certificate_is_given(bent):
    contract = Artifact.open(bent).manifest.contract
    assert contract.normalization == BENT
    assert Contract.model_validate_json(contract.model_dump_json()) == contract
    assert verify_artifact(bent)["certified"]
