"""Artifacts and fields for the tests of the runtime."""

import pytest

from gfs_sr.data.grid import Registration
from gfs_sr.runtime.upscaler import Upscaler
from tests.interpolating_artifact import SUN, interpolation_contract, make_interpolation_artifact


@pytest.fixture(scope="session")
def node_artifact(tmp_path_factory):
    return make_interpolation_artifact(tmp_path_factory.mktemp("artifacts") / "node")


@pytest.fixture(scope="session")
def cell_artifact(tmp_path_factory):
    contract = interpolation_contract(registration=Registration.CELL, name="test-cell")
    return make_interpolation_artifact(tmp_path_factory.mktemp("artifacts") / "cell", contract)


@pytest.fixture(scope="session")
def sunny_artifact(tmp_path_factory):
    """Adds 1 % of the cosine of the solar zenith angle, in model units; s = 3, r = 2."""
    contract = interpolation_contract(3, 2, predictors=SUN, name="test-sun")
    return make_interpolation_artifact(tmp_path_factory.mktemp("artifacts") / "sun", contract)


@pytest.fixture(scope="session")
def node(node_artifact):
    with Upscaler.open(node_artifact, threads=1) as upscaler:
        yield upscaler


@pytest.fixture(scope="session")
def cell(cell_artifact):
    with Upscaler.open(cell_artifact, threads=1) as upscaler:
        yield upscaler


@pytest.fixture(scope="session")
def sunny(sunny_artifact):
    with Upscaler.open(sunny_artifact, threads=1) as upscaler:
        yield upscaler
