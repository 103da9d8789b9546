"""Beyond the ends of a region: mirrored, so that what rises towards an end goes on rising."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gfs_sr.contract import Halo
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Boundary, Grid, Registration
from gfs_sr.models import build
from gfs_sr.runtime import tiling
from gfs_sr.runtime.ends import mirror_ends
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.tiling import AxisPlan, Plan
from gfs_sr.runtime.upscaler import Upscaler
from tests.forecasts import globe, make_forecast
from tests.interpolating_artifact import interpolation_contract, make_interpolation_artifact

ODD = {"mode": "reflect", "reflect_type": "odd"}
EVEN = {"registration": Registration.CELL, "mirrored_ends": True}


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    artifact = make_interpolation_artifact(
        tmp_path_factory.mktemp("mirrored") / "artifact", interpolation_contract(**EVEN)
    )
    with Upscaler.open(artifact, threads=1) as opened:
        yield opened


def gathered(field, plan, tiles):
    out = np.empty((len(tiles), 1, field.shape[0], *plan.tile_shape[1:]), np.float32)
    channels = field.shape[0]
    tiling.gather(
        [field], 0, plan, 0, tiles, offset=np.zeros(channels, np.float32), scale=np.ones(channels, np.float32),
        flip=np.zeros(channels, bool), out=out,
    )  # fmt: skip
    mirror_ends(out, plan, tiles)
    return out


def plan_of(shape, cores, halo, lon=Boundary.EDGE):
    lat_axis = AxisPlan(shape[0], cores[0], halo, halo)
    return Plan(AxisPlan(1, 1, 0, 0), lat_axis, AxisPlan(shape[1], cores[1], halo, halo, lon))


@given(
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.tuples(st.integers(1, 10), st.integers(1, 10)),
    st.integers(0, 12),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_every_tile_sees_what_numpy_continues_oddly(shape, cores, halo, seed):
    field = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    plan = plan_of(shape, cores, halo)
    tiles = range(plan.spatial_tiles)
    wide = continued(field.astype(np.float64), halo)
    for tile, values in zip(tiles, gathered(field, plan, tiles), strict=True):
        row, column = divmod(tile, plan.lon.tiles)
        top, left = row * cores[0], column * cores[1]
        seen = wide[:, top : top + plan.lat.extent, left : left + plan.lon.extent]
        height, width = seen.shape[1:]  # less where the core overhangs the region
        allowed = 1e-5 * (1 + np.abs(seen).max())
        np.testing.assert_allclose(values[0, :, :height, :width], seen, rtol=0, atol=allowed)


def continued(field, halo):
    """Each end by itself, as far as the region reaches, and held from there on."""
    for axis in (1, 2):
        mirrored = min(halo, field.shape[axis] - 1)
        for width, options in ((mirrored, ODD), (halo - mirrored, {"mode": "edge"})):
            field = np.pad(field, [(width, width) if each == axis else (0, 0) for each in range(3)], **options)
    return field


def test_a_single_row_and_what_goes_round_are_left():
    field = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    tile = gathered(field, plan_of((1, 6), (1, 6), 2, Boundary.PERIODIC), range(1))
    np.testing.assert_array_equal(tile[0, 0, 0], np.tile([4, 5, 0, 1, 2, 3, 4, 5, 0, 1], (5, 1)))


def test_a_ramp_is_exact_up_to_and_beyond_the_rim(mirrored):
    grid = Grid(50 - 1.0 * np.arange(5), 5 + 1.0 * np.arange(4))
    ramp = 280 + 0.3 * np.arange(5)[:, None] + 0.2 * np.arange(4) + np.zeros((2, 1, 1))
    forecast = make_forecast(2, grid=grid)
    fine = mirrored.upscale_forecast(Forecast.from_arrays(ramp[:, None], ("t2m",), grid, forecast.times))
    exact = 280 + 0.3 * (50 - fine.grid.lat)[:, None] + 0.2 * (fine.grid.lon - 5)
    np.testing.assert_allclose(fine.values[:, 0], np.broadcast_to(exact, fine.values[:, 0].shape), rtol=1e-6)


@pytest.mark.parametrize("tile", [1, 2, 5])
def test_no_tile_changes_a_region_or_the_globe(mirrored, tile):
    for grid in (None, globe(15.0)):
        forecast = make_forecast(2, ("t2m", "u10"), grid)
        whole, tiled = (mirrored.upscale_forecast(forecast, Request(tile=size)).values for size in (None, tile))
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-4)


def test_uneven_halos_cannot_be_mirrored():
    halo = Halo(before=0, after=1, north=1, south=2, west=2, east=2)
    with pytest.raises(ValidationError, match="as wide on either side"):
        interpolation_contract(**EVEN, halo=halo)


@pytest.mark.parametrize("registration", list(Registration))
def test_fused_mirrors_ends_of_block_means_alone(registration):
    network = build({"family": "fused", "registration": registration})
    contract = network.make_contract(name="fused")
    assert contract.mirrored_ends == (registration is Registration.CELL)
    assert ("mirrored_ends" in contract.model_dump()) == contract.mirrored_ends
