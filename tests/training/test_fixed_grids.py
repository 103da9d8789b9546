"""Networks with fine cells of their own: trained on coarse fields of any spacing, served, and scored."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import NearestNDInterpolator
from typer.testing import CliRunner

from export.publication import publish_checkpoint
from gfs_sr import models
from gfs_sr.cli.app import app
from gfs_sr.data.build import build
from gfs_sr.data.build_config import BuildConfig
from gfs_sr.data.built_file import open_built
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.locations import FixedLocation
from gfs_sr.data.regions import Box
from gfs_sr.errors import GfsSrError, MissingVariable, ShapeMismatch, UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.receptive_field import Reach
from gfs_sr.runtime.target_grid import on_target_grid
from gfs_sr.training.field_set import SourceConfig
from gfs_sr.training.main import main
from gfs_sr.training.open_source import open_source
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.windows import generator
from tests.training.runs import arguments

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

# the seed's task, smaller: 1.25 by 0.942408 degrees to a tenth of a degree, amounts and temperature of a day
FINE_LAT, FINE_LON = 42.95 - 0.1 * np.arange(24), -112.92 + 0.1 * np.arange(32)
WIDE_LAT, WIDE_LON = 46.95 - 0.1 * np.arange(100), -117.92 + 0.1 * np.arange(132)
AIR_LAT, AIR_LON = 49.0 - 0.5 * np.arange(29), -120.0 + 0.5 * np.arange(41)
SPACING = (0.942408, 1.25)
DAYS = 6
TARGET = [42.95, -112.92, 0.1, 24, 32]
NETWORK = {
    "variables": ["tp", "t2m"], "predictor_variables": ["t@850", "q@700"], "scale_factor": 1, "time_factor": 1,
    "registration": "cell", "space": "nearest", "own_coarse": False, "baseline_residual": False, "statics": ["orog"],
    "target_grid": TARGET, "width": 4, "multipliers": [1, 2], "blocks": 1, "dropout": 0.0, "attention_heads": 2,
}  # fmt: skip
CONFIG = """
training: {training}
model:
  name: {name}
  network: {network}
  loss: {{weights: {{mse: 1.0}}, variables: {{tp: 1.0, t2m: 0.3}}}}
data:
  sources: [{{name: days, files: [built.nc], built: true}}]
  split: {{kind: date, dates: {{train: [1985-01-01, 1985-01-04], validation: [1985-01-05, 1985-01-06]}}}}
  scalers: {{tp: log, t2m: z, "t@850": z, "q@700": z_no_mean}}
  augment: false
  streams: {{days: {{kind: space, batch: 2, patch: 24, patch_columns: 32}}}}
  validation_stream: {{kind: space, batch: 2, patch: 24, patch_columns: 32}}
"""


def dataset(lat, lon, levels=(), **given):
    """Daily fields; those of a level stand beside their pressure."""
    times = np.datetime64("1985-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
    axes = {"time": times, "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"})}  # fmt: skip
    dims = ("time", "level", "lat", "lon") if levels else ("time", "lat", "lon")
    axes |= {"level": ("level", np.array(levels), {"units": "hPa"})} if levels else {}
    return xr.Dataset({name: (dims, values.astype(np.float32), {"units": units})
                       for name, (values, units) in given.items()}, axes)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A built data set; temperature is a plane in space, so that an interpolation can be told."""
    made = tmp_path_factory.mktemp("fixed")
    rng = np.random.default_rng(3)
    rain = rng.gamma(0.4, 6.0, (DAYS, WIDE_LAT.size, WIDE_LON.size)) * (rng.random((DAYS, 1, 1)) + 0.5)
    warm = 280 + 0.5 * (WIDE_LAT[:, None] - 40) + 0.2 * (WIDE_LON + 110) + np.arange(DAYS)[:, None, None]
    dataset(WIDE_LAT, WIDE_LON, precipitation=(rain, "mm"), t2m=(warm, "K")).to_netcdf(made / "surface.nc")
    above = 270 + rng.standard_normal((DAYS, 1, AIR_LAT.size, AIR_LON.size))
    for level, name, values, units in ((850.0, "t", above, "K"), (700.0, "q", 0.002 + 1e-4 * (above - 270), "kg kg-1")):
        dataset(AIR_LAT, AIR_LON, (level,), **{name: (values, units)}).to_netcdf(made / f"{name}.nc")
    surface = {"files": ["surface.nc"], "variables": ["tp", "t2m"]}
    build(BuildConfig.model_validate({
        "output": str(made / "built.nc"), "folder": str(made),
        "fine": {"sources": [surface], "box": [43.0, -113.0, 40.6, -109.8]},
        "coarse": {"sources": [surface, {"files": ["t.nc"], "variables": ["t@850"]},
                               {"files": ["q.nc"], "variables": ["q@700"]}],
                   "grid": {"spacing": list(SPACING)}},
    }))  # fmt: skip
    return made


@pytest.fixture
def fields(folder):
    """The data set as training reads it."""
    (found,) = open_source(SourceConfig("days", ["built.nc"], built=True), folder, ChunkCache(1))
    return found


def network(family="unet", **changes):
    return models.build({"family": family, **NETWORK, **changes})


def sampler(fields, model, stream, **changes):
    contract = model.make_contract(name="test")
    task = Task.of(contract, Reach(), is_placed=bool(model.location_grid))
    return Sampler([fields.for_network(contract)], task, StreamConfig("space", **stream, **changes)), contract


def test_s004_03_upsample_is_a_patch_of_the_whole_domain(fields):
    drawn, contract = sampler(fields, network(), {"patch": 24, "patch_columns": 32})
    sample = drawn.draw(generator(1), augment=False)
    assert sample["coarse"].shape == (1, 2, 24, 32)  # predictors
    assert sample["fine"].shape == sample["mask"].shape == (1, 2, 24, 32)  # amounts and temperature
    assert sample["static_fine"].shape == (1, 1, 24, 32)
    assert sample["mask"].all()
    frames = [contract.normalization["t2m"].normalize(fields.values[1, day]) for day in range(DAYS)]
    assert sum(np.allclose(sample["fine"][0, 1], frame, atol=1e-5) for frame in frames) == 1


def test_s004_03_every_window_is_drawn_and_says_where_it_lies(fields):
    model = network(location_parameters=1, location_grid=[24, 32])
    drawn, contract = sampler(fields, model, {"patch": 22, "patch_columns": 30})
    seen = Counter()
    for index in range(150):
        sample = drawn.draw(generator(7, index))  # mirrored samples would not lie where they say
        row, column = sample["origin"]
        seen[row, column] += 1
        plane = fields.values[1, :, row : row + 22, column : column + 30]
        truth = contract.normalization["t2m"].normalize(plane)
        assert min(np.abs(sample["fine"][0, 1] - frame).max() for frame in truth) < 1e-4
    assert set(seen) == {(row, column) for row in range(3) for column in range(3)}


def test_s004_03_a_fixed_location_sees_the_fields_as_the_whole_does(fields, folder):
    location = FixedLocation(box=Box(42.43, -111.9, 41.57, -110.6), buffer=1)
    source = SourceConfig("days", ["built.nc"], built=True, location=location)
    (part,) = open_source(source, folder, ChunkCache(1))
    assert_allclose(part.lat, FINE_LAT[4:16], atol=1e-6)  # the nearest cells, and one more on each side
    assert_allclose(part.lon, FINE_LON[9:25], atol=1e-6)
    assert part.coarse_grid.lat.size < fields.coarse_grid.lat.size  # nothing far beyond is seen from there
    contract = network(space="bilinear").make_contract(name="test")
    channels = [fields.variables.index(name) for name in contract.inputs]
    rows, columns = np.arange(part.lat.size), np.arange(part.lon.size)
    how, frames = (contract.registration, 1, 0.0), np.arange(DAYS)
    of_part = part.for_network(contract).read_coarse(how, channels, frames, rows, columns)
    of_whole = fields.for_network(contract).read_coarse(how, channels, frames, rows + 4, columns + 9)
    assert_allclose(of_part, of_whole, rtol=1e-6)


def test_coarse_fields_come_to_fine_cells_as_where_the_network_is_served(fields, folder):
    built = open_built(folder / "built.nc")
    rows, columns = np.arange(24), np.arange(32)
    for space in ("nearest", "bilinear", "bicubic"):
        contract = network(space=space).make_contract(name="test")
        channels = [fields.variables.index(name) for name in contract.inputs]
        given = fields.for_network(contract).read_coarse(
            (contract.registration, 1, 0.0), channels, np.arange(DAYS), rows, columns
        )
        served = on_target_grid(built.coarse.select(contract.inputs), contract)
        assert_allclose(np.moveaxis(served.load(), 1, 0), given, rtol=1e-6)
    # and by another program: the nearest coarse cell, in units of the coarse spacing
    points = np.stack(np.meshgrid(built.coarse.grid.lat / SPACING[0], built.coarse.grid.lon / SPACING[1],
                                  indexing="ij"), axis=-1).reshape(-1, 2)  # fmt: skip
    cells = np.stack(np.meshgrid(FINE_LAT / SPACING[0], (FINE_LON % 360.0) / SPACING[1], indexing="ij"), axis=-1)
    if built.coarse.grid.lon[0] < 0:
        cells[..., 1] -= 360.0 / SPACING[1]
    contract = network().make_contract(name="test")
    place = fields.variables.index("t@850")
    found = fields.for_network(contract).read_coarse(
        (contract.registration, 1, 0.0), [place], np.array([2]), rows, columns
    )
    theirs = built.coarse.frame(2)[built.coarse.variables.index("t@850")]
    assert_allclose(found[0, 0], NearestNDInterpolator(points, theirs.ravel())(cells), rtol=1e-6)


def test_a_variable_that_is_coarse_too_is_given_as_it_is_coarse(fields):
    model = network(own_coarse=True, predictor_variables=[], baseline_residual=True, space="bilinear")
    drawn, contract = sampler(fields, model, {"patch": 24, "patch_columns": 32})
    sample = drawn.draw(generator(1), augment=False)
    spread = contract.normalization["t2m"].sd
    # of a plane, cell means and what lies between them are the plane: they differ by the sphere alone
    assert np.abs(sample["coarse"][0, 1] - sample["fine"][0, 1]).max() * spread < 0.02
    assert sample["coarse"][0, 0].std() < 0.5 * sample["fine"][0, 0].std()  # rain is averaged


def test_statistics_are_of_the_fine_field_where_there_is_one(fields):
    assert fields.variables == ("tp", "t2m", "t@850", "q@700")
    rain, above = (fields.variables.index(name) for name in ("tp", "t@850"))
    assert fields.mean_and_sd(rain)[1] == pytest.approx(fields.values[fields.fine.index("tp")].std(), rel=1e-5)
    assert np.concatenate([slab.ravel() for slab in fields.slabs(above)]).size == DAYS * fields.given[0, 0].size
    nothing = fields.read([above], np.arange(1), np.arange(2), np.arange(2))
    assert np.isnan(nothing).all()  # no truth of what is coarse alone


def test_s004_13_maps_of_the_place_learn_under_the_window_alone(fields):
    model = network(location_parameters=1, location_grid=[24, 32], width=8)
    drawn, _ = sampler(fields, model, {"patch": 8, "patch_columns": 8})
    sample = drawn.draw(generator(5))
    inputs = {name: torch.from_numpy(np.asarray(sample[name]))[None] for name in ("coarse", "static_fine", "origin")}
    torch.nn.init.normal_(model.output_weight)
    model(**inputs).square().sum().backward()
    row, column = sample["origin"]
    learned = model.fields.maps.grad[0] != 0
    assert learned[row : row + 8, column : column + 8].any()
    learned[row : row + 8, column : column + 8] = False
    assert not learned.any()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"target_grid": []}, UsageError, "target_grid"),
        ({"target_grid": [42.95, -112.92, 0.05, 24, 32]}, ShapeMismatch, "0.1 by 0.1"),
        ({"predictor_variables": ["t@850", "r2"]}, MissingVariable, "no coarse r2"),
        ({"variables": ["tp", "d2m"]}, MissingVariable, "no fine d2m"),
    ],
    ids=str,
)
def test_networks_that_the_data_set_is_not_for_are_refused(fields, changes, error, said):
    contract = network(**changes).make_contract(name="test")
    with pytest.raises(error, match=said):
        fields.for_network(contract)


def test_a_day_of_arpege_over_a_grid_of_no_whole_factor(shared_data, tmp_path):
    """Amounts since the start of a run and instants of another file, a tenth of a degree, over climate model cells."""
    day = "series/meteonet_nw/arpege_{}_NW_20180501000000.grib"
    rain, air = ({"files": [day.format(kind)], "variables": names} for kind, names in
                 (("PRECIP", ["tp"]), ("2m", ["t2m", "d2m"])))  # fmt: skip
    build(BuildConfig.model_validate({
        "output": str(tmp_path / "day.nc"), "folder": str(shared_data),
        "fine": {"sources": [rain, {**air, "variables": ["t2m"]}], "box": [50.36, -3.66, 47.65, -0.1]},
        "coarse": {"sources": [rain, air], "grid": {"spacing": list(SPACING)}},
    }))  # fmt: skip
    (found,) = open_source(SourceConfig("arpege", ["day.nc"], built=True), tmp_path, ChunkCache(1))
    assert found.shape == (24, 27, 36)
    assert found.coarse == ("tp", "t2m", "d2m")
    model = network(variables=["tp", "t2m"], predictor_variables=["d2m"], own_coarse=True, statics=["orog", "lsm"],
                    target_grid=[50.296, -3.642, 0.1, 27, 36], space="bicubic")  # fmt: skip
    drawn, contract = sampler(found, model, {"patch": 27, "patch_columns": 36})
    sample = drawn.draw(generator(3), augment=False)
    assert sample["mask"].all()
    # the coarse cells hold the same water and warmth, up to those that hang over the rim
    for channel, tolerance in ((0, 0.2), (1, 0.6)):
        units = contract.normalization[contract.outputs[channel]]
        means = [units.denormalize(sample[kind][0, channel]).mean() for kind in ("coarse", "fine")]
        assert means[0] == pytest.approx(means[1], abs=tolerance)
    assert found.values[0].min() > -0.02  # differences of packed sums
    assert 0.01 < found.values[0].mean() < 1.0  # mm of an hour, not of the run so far


def config_of(name, family, training="supervised", **changes):
    return CONFIG.format(training=training, name=name, network=json.dumps({"family": family, **NETWORK, **changes}))


@pytest.mark.parametrize(
    ("sources", "changes", "said"),
    [
        ("{name: days, files: [built.nc], built: true, stored: true}", {}, "leave out stored and coarse"),
        ("{name: days, files: [surface.nc]}", {}, "built: true"),  # its own fine fields would be the coarse ones
        ("{name: days, files: [built.nc], built: true, variables: [r2]}", {}, "none of r2"),
        ("{name: days, files: [built.nc], built: true}", {"location_parameters": 1, "location_grid": [9, 9]}, "9 by 9"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(folder, tmp_path, sources, changes, said):
    text = config_of("none", "unet", **changes)
    text = text.replace("{name: days, files: [built.nc], built: true}", sources)
    with pytest.raises(GfsSrError, match=said):
        main(arguments(tmp_path, text, steps=1, epochs=1, **{"data.folder": str(folder)}))


def run(*words):
    told = CliRunner().invoke(app, [str(word) for word in words])
    assert told.exit_code == 0, told.output
    return told.stdout


def test_s004_13_options_of_a_place_train_export_and_run(folder, tmp_path):
    options = {"cascade": True, "side": True, "season": True, "location_parameters": 2, "location_grid": [24, 32]}
    text = config_of("place", "unet", **options)
    checkpoint = main(arguments(tmp_path, text, steps=2, epochs=1, **{"data.folder": str(folder)}))
    assert (load_checkpoint(checkpoint).model().fields.maps != 0).any()  # they start at 0
    artifact = publish_checkpoint(checkpoint, tmp_path / "artifact").artifact
    run("upscale", folder / "built.nc", "-o", tmp_path / "x.nc", "--model", artifact.path, "--variables", "tp")
    with xr.open_dataset(tmp_path / "x.nc") as fine:
        assert np.isfinite(fine["tp"]).all()


def test_s004_14_and_19_from_a_built_data_set_to_scored_members_around_a_mean(folder, tmp_path):
    """Regression, diffusion of what it leaves, artifact, members of a coarse file without truth, and their scores."""

    def trained(name, text, **more):
        (tmp_path / name).mkdir()
        return main(arguments(tmp_path / name, text, steps=3, epochs=1, **{"data.folder": str(folder)}, **more))

    mean = trained("mean", config_of("mean", "unet"))
    sampling = {"sampler": {"integrator": "heun"}, "schedule": {"n": 2, "sigma_max": 5.0}}
    checkpoint = trained("members", config_of("rain", "edm", "diffusion", **sampling), **{"model.mean": str(mean)})
    artifact = publish_checkpoint(checkpoint, tmp_path / "artifact").artifact
    contract = artifact.manifest.contract
    assert contract.normalization["tp"].transform == "log10_1p"
    assert contract.outputs == ("tp", "t2m")
    assert contract.target_grid.lat[-1] == pytest.approx(FINE_LAT[-1])

    coarse, fine = folder / "built.nc", tmp_path / "fine.nc"
    given = ["--model", artifact.path, "--members", 2, "--seed", 3, "--backend", "onnxruntime", "--variables"]
    run("upscale", coarse, "-o", fine, *given, "tp")
    with xr.open_dataset(fine) as members:
        assert members["tp"].shape == (2, DAYS, 24, 32)
        assert_allclose(np.sort(members["lat"]), np.sort(FINE_LAT), atol=1e-5)
        assert float(members["tp"].min()) >= 0
        assert float(members["tp"].std("realization").mean()) > 0
    run("upscale", coarse, "-o", tmp_path / "warm.nc", *given, "t2m")  # amounts and instants share no file
    with xr.open_dataset(tmp_path / "warm.nc") as members:
        assert abs(float(members["t2m"].mean()) - 283) < 10  # mean and what is left around it make the target's scale
    # the coarse fields alone, in a file of their own, make the same members: truth is not needed
    with xr.open_dataset(folder / "built.nc") as built:
        names = {"coarse_t_850": "t", "coarse_q_700": "q", "lat_2": "lat", "lon_2": "lon"}
        alone = built[["coarse_t_850", "coarse_q_700"]].rename(names)
        for name, level in (("t", 850.0), ("q", 700.0)):
            plain = {"units": alone[name].attrs["units"]}
            at_level = alone[name].expand_dims(level=[level], axis=1).drop_attrs().assign_attrs(plain)
            at_level["level"].attrs["units"] = "hPa"
            at_level.to_dataset().to_netcdf(tmp_path / f"{name}.nc")
    again = tmp_path / "again.nc"
    run("upscale", tmp_path / "t.nc", tmp_path / "q.nc", "-o", again, *given, "tp", "--registration", "cell")
    with xr.open_dataset(fine) as one, xr.open_dataset(again) as other:
        assert_array_equal(one["tp"], other["tp"])

    report = ["evaluate", "--data", coarse, "--forecast", fine, "-o", tmp_path / "report", "--metrics", "RMSE,CRPS"]
    told = json.loads(run(*report, "--coarse", coarse, "--variables", "tp", "--no-terrain", "--json"))
    scores = {(row["method"], row["metric"]): row["value"] for row in told["scores"] if row["region"] == "all"}
    assert scores["rain", "CRPS"] > 0
    # each interpolation brings the coarse fields to the fine cells by itself
    built = open_built(coarse)
    rows = np.abs(built.coarse.grid.lat[:, None] - FINE_LAT).argmin(axis=0)
    columns = np.abs((built.coarse.grid.lon[:, None] - FINE_LON + 180) % 360 - 180).argmin(axis=0)
    nearest = built.coarse.select(["tp"]).load()[:, 0][:, rows[:, None], columns]
    squares = (nearest - built.fine.select(["tp"]).load()[:, 0]) ** 2
    weights = np.cos(np.deg2rad(FINE_LAT))[:, None]
    assert scores["nearest", "RMSE"] == pytest.approx(np.sqrt((squares * weights).mean() / weights.mean()), rel=1e-4)
    assert len({round(scores[name, "RMSE"], 5) for name in ("nearest", "bilinear", "bicubic", "lanczos")}) == 4
    refused = CliRunner().invoke(app, [str(word) for word in report])
    assert refused.exit_code != 0
    assert "--coarse" in refused.output  # truth coarsened by 1 would be truth
    refused = CliRunner().invoke(app, ["evaluate", "--data", str(coarse), "--model", str(artifact.path)])
    assert "--forecast" in refused.output
