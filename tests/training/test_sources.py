"""Sources of a configuration: real pairs, statics of their own, scalers fitted to what is trained on; whole runs."""

import json

import numpy as np
import pytest
import xarray as xr

from gfs_sr.contract import Scaling
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_forecast
from gfs_sr.errors import RegistrationMismatch, ShapeMismatch, UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training import main
from gfs_sr.training.field_set import FieldSet, SourceConfig
from gfs_sr.training.open_source import open_source
from gfs_sr.training.paired_set import PairedSet
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.stored_set import StoredSet
from gfs_sr.training.units import fit_scalings
from gfs_sr.training.windows import View, generator
from tests.training.runs import arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

CACHE = ChunkCache(2**24)
MSL = SourceConfig(
    "meteonet", ["arome_P_sea_level_NW_20180501000000.grib"], coarse=["arpege_P_sea_level_NW_20180501000000.grib"],
    statics=["NW_masks.grib"],
)  # fmt: skip


def pair_task(registration=Registration.NODE, s=4, names=("msl",), **changes):
    facts = {
        "variables": names, "scaling": {name: Scaling(mean=0, sd=1) for name in (*names, "orog", "lsm")},
        "registration": registration, "scale_factor": s, "time_factor": 1, "context": Reach.space(2),
        "one_by_one": False, "statics": (), "sun": False, "fractions_given": False,
    }  # fmt: skip
    return Task(**(facts | changes))


def synthetic(registration, s=4, rows=9, columns=11):
    """Pairs whose coarse values say which fine cells they belong to: value = 1000·row + column of their first cell."""
    extra = 1 if registration is Registration.NODE else 0
    height, width = s * (rows - extra) + extra, s * (columns - extra) + extra
    fine = 1000.0 * np.arange(height)[:, None] + np.arange(width)
    coarse = fine[: s * rows : s, : s * columns : s]
    return PairedSet(
        "p", "p", ("t2m",), fine[None, None].astype(np.float32), np.array(["2024-01-01"], "datetime64[ns]"),
        50 - 0.1 * np.arange(height), 0.1 * np.arange(width), given=coarse[None, None].astype(np.float32),
        scale_factor=s, registration=registration,
    )  # fmt: skip


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("view", [View(), View(True, False), View(False, True), View(True, True, True),
                                  View(transposed=True), View(True, False, True)])  # fmt: skip
def test_pairs_stay_together_in_every_mirror(registration, view, monkeypatch):
    pairs = synthetic(registration)
    monkeypatch.setattr(View, "draw", classmethod(lambda cls, rng, transpose: view))
    task = pair_task(registration, names=("t2m",), context=Reach(), one_by_one=True)
    sampler = Sampler([pairs], task, StreamConfig(kind="space", patch=3))
    for key in range(10):
        sample = sampler.draw(generator(key))
        coarse, fine = sample["coarse"][0, 0], sample["fine"][0, 0]
        # the coarse value is that of the first cell of its block in the unmirrored field
        first_row = 3 if registration is Registration.CELL and view.north_south else 0
        first_column = 3 if registration is Registration.CELL and view.east_west else 0
        if view.transposed:
            first_row, first_column = first_column, first_row
        np.testing.assert_array_equal(fine[first_row::4, first_column::4], coarse)


def test_real_pairs_of_a_source_lie_node_on_node_with_statics_of_their_own(shared_data):
    (pairs,) = open_source(MSL, shared_data / "series" / "meteonet_nw", CACHE)
    assert isinstance(pairs, PairedSet)
    assert (pairs.scale_factor, pairs.registration, pairs.shape) == (4, Registration.NODE, (25, 227, 315))
    assert pairs.given.shape == (1, 25, 57, 79)
    heights = open_forecast(shared_data / "series" / "meteonet_nw" / "NW_masks.grib", ["orog"]).frame(0)[0]
    np.testing.assert_allclose(pairs.statics(("orog",))[0], heights, atol=1e-3)
    sample = Sampler([pairs], pair_task(statics=("orog", "lsm")), StreamConfig(kind="space", patch=10)).draw(
        generator(1), augment=False
    )
    assert sample["coarse"].shape == (1, 1, 14, 14)
    assert sample["fine"].shape == (1, 1, 40, 40)
    # at the nodes the two models of one analysis differ by little, of values that span thousands of Pa
    inner = sample["coarse"][0, 0, 2:-2, 2:-2] - sample["fine"][0, 0, ::4, ::4]
    assert np.abs(inner).max() < 200


def test_accumulated_rain_pairs_too(shared_data):
    config = SourceConfig("rain", ["arome_PRECIP_NW_20180501000000.grib"], ["tp"],
                          coarse=["arpege_PRECIP_NW_20180501000000.grib"])  # fmt: skip
    (pairs,) = open_source(config, shared_data / "series" / "meteonet_nw", CACHE)
    assert pairs.shape == (24, 227, 315)
    assert pairs.values.min() > -0.01  # differences of sums that GRIB rounded
    log = fit_scalings({"tp": "log"}, [pairs])["tp"]
    task = pair_task(names=("tp",), scaling={"tp": log})
    sample = Sampler([pairs], task, StreamConfig(kind="space", patch=20)).draw(generator(4), augment=False)
    assert sample["fine"].min() >= 0
    assert 0 < sample["fine"].max() <= log.normalize(pairs.values.max()) + 1e-6


def test_pairs_for_another_network_are_refused():
    pairs = synthetic(Registration.NODE)
    with pytest.raises(ShapeMismatch, match="4 fine cells wide, not 6"):
        pairs.check(Registration.NODE, 6)
    with pytest.raises(RegistrationMismatch, match="registered by node, the network by cell"):
        pairs.check(Registration.CELL, 4)
    with pytest.raises(UsageError, match="held in memory"):
        open_source(SourceConfig("a", ["x"], stored=True, coarse=["y"]), None, CACHE)


@pytest.mark.parametrize("registration", list(Registration))
def test_a_part_of_pairs_keeps_whole_cells(registration):
    pairs = synthetic(registration)
    part = pairs.part(range(1), range(5, 25), range(0, 30))
    assert part.given.shape[-2:] == (4, 7)
    assert part.shape[1:] == (16, 28)
    np.testing.assert_array_equal(part.given[0, 0], part.values[0, 0, ::4, ::4])
    whole = pairs.part(range(1))
    assert whole.shape == pairs.shape


def test_s004_02_scalers_are_fitted_on_the_training_split_only():
    rng = np.random.default_rng(0)
    times = np.datetime64("2024-01-01", "ns") + np.arange(4) * np.timedelta64(1, "h")
    train, held = (
        FieldSet(name, name, ("tp",), rng.gamma(0.5, size, (1, 4, 9, 9)).astype(np.float32), times, None, None)
        for name, size in (("train", 2.0), ("held", 50.0))
    )
    found = fit_scalings({"tp": "min_max"}, [train])["tp"]
    assert found.normalize(train.values.max()) == pytest.approx(1, abs=1e-6)
    assert found.normalize(train.values.min()) == pytest.approx(-1, abs=1e-6)
    assert found.normalize(held.values.max()) > 5
    above = fit_scalings({"tp": "z_threshold:1.5"}, [train])["tp"]
    wet = train.values[train.values > 1.5].astype(np.float64)
    assert above.mean == pytest.approx(wet.mean(), rel=1e-9)
    assert above.sd == pytest.approx(5 * wet.std(), rel=1e-9)
    with pytest.raises(UsageError, match="no number"):
        fit_scalings({"tp": "z_threshold:wet"}, [train])


STORED = """
model:
  network: {family: factorized, variables: [t2m, wspd], scale_factor: 3, time_factor: 3, blocks: 1, width: 8,
    padding: replicate}
  optimizer: {lr: 1.0e-3}
data:
  sources: [{name: wind, files: ["fine.zarr"], variables: [t2m, wspd], stored: true}]
  split: {kind: date, dates: {train: [2024-01-01, 2024-01-04], validation: [2024-01-05, 2024-01-06]}}
  scalers: {t2m: z, wspd: sqrt}
  sigma: 1.5
  streams: {whole: {kind: space_time, batch: 2, patch: 6, intervals: 2, pool_blocks: 2, pool_steps: 2}}
  validation_stream: {kind: space_time, batch: 2, patch: 6, intervals: 2}
"""


def fine_store(path):
    rng = np.random.default_rng(5)
    frames, rows, columns = 24 * 6, 36, 40
    times = np.datetime64("2024-01-01", "ns") + np.arange(frames) * np.timedelta64(1, "h")
    fields = rng.standard_normal((3, frames, rows, columns)).cumsum(axis=2).cumsum(axis=3).astype(np.float32) * 0.05
    xr.Dataset(
        {"t2m": (("time", "lat", "lon"), 280 + fields[0], {"units": "K"}),
         "u10": (("time", "lat", "lon"), fields[1], {"units": "m s-1"}),
         "v10": (("time", "lat", "lon"), fields[2], {"units": "m s-1"})},
        coords={"time": times, "lat": ("lat", 50 - 0.25 * np.arange(rows), {"units": "degrees_north"}),
                "lon": ("lon", 5 + 0.25 * np.arange(columns), {"units": "degrees_east"})},
    ).to_zarr(path, consolidated=False)  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_on_stored_fields_with_cache_split_and_scalers(tmp_path, workers):
    fine_store(tmp_path / "fine.zarr")
    more = {"data.folder": str(tmp_path), "data.cache": str(tmp_path / "cache"), "data.num_workers": str(workers)}
    path = main.main(arguments(tmp_path, STORED, steps=4, epochs=1, **more))
    checkpoint = load_checkpoint(path)
    scaling = checkpoint.contract.normalization
    assert scaling["wspd"] == Scaling(mean=0, sd=15, transform="sqrt")
    with xr.open_zarr(tmp_path / "fine.zarr", consolidated=False) as whole:
        trained = whole["t2m"].to_numpy()[: 4 * 24].astype(np.float64)
    assert scaling["t2m"].mean == pytest.approx(trained.mean(), rel=1e-7)
    assert scaling["t2m"].sd == pytest.approx(5 * trained.std(), rel=1e-5)
    assert checkpoint.provenance["validated on"] == "held out by date"
    stores = [each for each in (tmp_path / "cache").iterdir() if each.is_dir()]
    assert len(stores) == 1
    facts = json.loads((stores[0] / "prepared.json").read_text())
    assert facts["preparation"]["sigma"] == 1.5


def test_a_network_with_units_of_its_own_takes_no_scalers(tmp_path):
    fine_store(tmp_path / "fine.zarr")
    text = STORED.replace("family: factorized, variables: [t2m, wspd]", "family: fused, interval_hours: 3.0").replace(
        "blocks: 1, width: 8,\n    padding: replicate", "blocks: 1, width: 6"
    )
    with pytest.raises(UsageError, match="units of its own"):
        main.main(arguments(tmp_path, text, steps=2, epochs=1, **{"data.folder": str(tmp_path)}))


def test_a_cache_without_stored_sources_is_refused(tmp_path):
    fine_store(tmp_path / "fine.zarr")
    more = {"data.folder": str(tmp_path), "data.cache": str(tmp_path / "cache")}
    with pytest.raises(UsageError, match="serves stored sources"):
        main.main(arguments(tmp_path, STORED.replace(", stored: true", ""), steps=2, epochs=1, **more))


def test_stored_sources_are_opened_without_being_read(tmp_path):
    fine_store(tmp_path / "fine.zarr")
    cache = ChunkCache(2**20)
    (fields,) = open_source(SourceConfig("a", ["fine.zarr"], ["t2m"], stored=True), tmp_path, cache)
    assert isinstance(fields, StoredSet)
    assert cache.loads == 0
    assert fields.shape == (144, 36, 40)
