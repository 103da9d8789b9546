"""Every member of the DL4DS family on its way: trained, exported, run in tiles; ensembles by Monte Carlo dropout."""

import json
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from export.publication import publish
from gfs_sr import models
from gfs_sr.cli.app import app
from gfs_sr.contract import NoiseGrid
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import MembersRefused, ShapeMismatch, UsageError
from gfs_sr.models.dl4ds import MEMBERS
from gfs_sr.models.dl4ds_dropout import Dropout, DropoutVariant, NoiseSlots
from gfs_sr.models.dl4ds_field import Field, Margin
from gfs_sr.runtime.request import Request
from gfs_sr.runtime.sink import open_sink
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.runtime.verify import verify_artifact
from gfs_sr.training.adversarial import Adversarial, AdversarialConfig
from gfs_sr.training.samples import StreamConfig
from gfs_sr.training.supervised import Supervised
from tests.export.checkpoints import make_checkpoint, make_sample

MONTE_CARLO = [variant for variant in DropoutVariant if variant.is_monte_carlo]
# one of every backbone, upsampling, sample type and training
REPRESENTATIVE = {
    ("dl4ds-resnet-spc", "supervised"), ("dl4ds-convnet-pin", "adversarial"), ("dl4ds-densenet-dc", "supervised"),
    ("dl4ds-convnext-rc", "adversarial"), ("dl4ds-unet-pin", "supervised"), ("dl4ds-rec-resnet-rc", "adversarial"),
    ("dl4ds-rec-densenet-spc", "supervised"),
}  # fmt: skip
SMALL = {"family": "dl4ds", "n_filters": 4, "n_blocks": 2}


def small(member, **options):
    window = {"time_window": 3} if member.recurrent else {}
    return {**SMALL, **member.config, **window, "least_side": 32, **options}


def _cases():
    for member in MEMBERS:
        for training in ("supervised", "adversarial"):
            marks = () if (member.name, training) in REPRESENTATIVE else (pytest.mark.slow,)
            yield pytest.param(member, training, id=f"{member.name}-{training}", marks=marks)


def forecast_on(grid: Grid, frames: int = 3) -> Forecast:
    rng = np.random.default_rng(5)
    start = np.datetime64("2024-03-01T00", "ns")
    times = TimeAxis(start, start + np.timedelta64(6, "h").astype("timedelta64[ns]") * np.arange(frames))
    values = 280 + 10 * rng.standard_normal((frames, 1, *grid.shape)).astype(np.float32)
    return Forecast.from_arrays(values, ("t2m",), grid, times, registration=Registration.CELL)


def europe(rows: int = 9, columns: int = 11) -> Grid:
    return Grid(50.0 - 1.0 * np.arange(rows), -5.0 + 1.0 * np.arange(columns))


def globe(rows: int = 12, columns: int = 18) -> Grid:
    return Grid(90 - 180 / rows * (np.arange(rows) + 0.5), 360 / columns * np.arange(columns))


def toy_batch(module, scale_factor=4):
    """A coarse field and a fine one that a network can learn."""
    generator = torch.Generator().manual_seed(3)
    margin = module.network.margin
    T, rows, columns = 2, 4, 5
    coarse = torch.randn(
        2, T + margin.before + margin.after, 1, rows + margin.north + margin.south, columns + margin.west + margin.east,
        generator=generator,
    )  # fmt: skip
    with torch.no_grad():
        base = module.network.learn("space_time", {"coarse": coarse})[1]
    fine = base + 0.5 * torch.sin(3 * base)
    return {"coarse": coarse, "fine": fine, "mask": torch.ones_like(fine, dtype=torch.bool)}


@pytest.mark.parametrize(("member", "training"), list(_cases()))
def test_s003_03_every_member_trains_exports_and_runs_the_same_in_tiles(tmp_path, monkeypatch, member, training):
    torch.manual_seed(1)
    for kind in (Supervised, Adversarial):
        monkeypatch.setattr(kind, "_margin", lambda self: self.network.margin)
    config = small(member, output_attention=False)
    module = Supervised(config) if training == "supervised" else Adversarial(AdversarialConfig(4, 1), network=config)
    module.train()
    batch, streams = toy_batch(module), {"toy": StreamConfig(kind="space_time")}
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    history = []
    for _ in range(20):
        optimizer.zero_grad()
        logged: dict[str, torch.Tensor] = {}
        sum(module.stream_losses({"toy": batch}, streams, logged)).backward()
        optimizer.step()
        history.append(float(logged["train/toy/l1"]))
    assert np.mean(history[-3:]) < history[0]

    checkpoint = replace(make_checkpoint(config), state_dict=module.network.state_dict())
    exported = publish(checkpoint, tmp_path / "model")  # compares ONNX Runtime with torch, within 1e-4 sd
    contract = exported.artifact.contract
    assert all(
        line.max_abs <= 1e-4 * contract.normalization[line.variable].sd + 1e-4
        for line in exported.artifact.manifest.parity
    )
    report = verify_artifact(tmp_path / "model", backends=("onnxruntime", "torch"))
    checks = {line["check"].partition(" ")[0]: line for line in report["checks"]}
    if member.backbone == "unet":
        assert contract.halo == "global"
        assert set(checks) == {"torch"}
    else:
        assert contract.halo != "global"
        assert checks["tiled"]["passed"]
        assert checks["streamed"]["passed"]


def test_s003_03_members_with_output_attention_say_global():
    for member in MEMBERS:
        assert models.build(small(member)).make_contract(name="test").halo == "global"


@pytest.mark.parametrize("options", [{}, {"time_window": 3}, {"upsampling": "pin"}, {"scale_free": True}], ids=str)
def test_a_member_is_exported_in_half_precision(tmp_path, options):
    config = {**SMALL, "output_attention": False, **options}
    contract = publish(make_checkpoint(config, spread=0.02), tmp_path / "model", precision="bf16").artifact.contract
    assert contract.precision == "bf16"
    assert contract.halo == models.build(config).make_contract(name="test").halo


def test_s003_04_the_58_members_and_trainings_are_listed():
    result = CliRunner().invoke(app, ["models", "--json"])
    rows = [row for row in json.loads(result.stdout) if row["family"] == "dl4ds"]
    assert len(rows) == len({row["name"] for row in rows}) == 58
    assert sum(row["training"] == "adversarial" for row in rows) == 29
    assert {row["name"].removesuffix("-cgan") for row in rows} == {member.name for member in MEMBERS}
    assert {row["parameters"] for row in rows if row["name"].startswith("dl4ds-resnet-spc")} == {287_541}


# dropout


def dropped(variant, training, rate=0.4, channels=6, given=None):
    layer = Dropout(rate, variant, channels, NoiseGrid.COARSE, NoiseSlots()).train(training)
    return layer(Field(torch.ones(3, channels, 20, 30), Margin()), given).values


@pytest.mark.parametrize("variant", list(DropoutVariant))
def test_s003_08_plain_dropout_is_off_in_evaluation_and_monte_carlo_is_on(variant):
    torch.manual_seed(0)
    still = dropped(variant, training=False)
    assert (still == 1).all() == (not variant.is_monte_carlo)
    moved = dropped(variant, training=True)
    assert moved.std() > 0.1
    assert float(moved.mean()) == pytest.approx(1, abs=0.7 if variant.is_spatial else 0.02)


@pytest.mark.parametrize("variant", list(DropoutVariant))
def test_s003_08_what_is_dropped_is_what_the_name_says(variant):
    torch.manual_seed(0)
    values = dropped(variant, training=True)
    channels = values.flatten(2)
    if variant.is_spatial:
        assert (channels == channels[..., :1]).all()  # whole channels
        assert {round(float(each), 4) for each in values.unique()} <= {0.0, round(1 / 0.6, 4)}
        return
    assert (channels.std(dim=2) > 0.1).all()
    if "gauss" in variant:
        assert float(values.std()) == pytest.approx((0.4 / 0.6) ** 0.5, rel=0.02)
    else:
        assert {round(float(each), 4) for each in values.unique()} == {0.0, round(1 / 0.6, 4)}
        assert float((values == 0).float().mean()) == pytest.approx(0.4, abs=0.02)


def test_s003_08_whole_channels_are_dropped_from_every_frame_of_a_window():
    torch.manual_seed(0)
    layer = Dropout(0.5, DropoutVariant.SPATIAL, 8, NoiseGrid.COARSE, NoiseSlots()).train()
    first, second = layer.series([Field(torch.ones(2, 8, 3, 3), Margin())] * 2)
    assert torch.equal(first.values, second.values)
    assert (first.values == 0).any()
    assert (first.values != 0).any()


KINDS = {
    "spatial": {},
    "recurrent": {"time_window": 3, "backbone": "convnet"},
    "pin": {"upsampling": "pin"},
}
DEFAULT_KINDS = {*((variant, "spatial") for variant in MONTE_CARLO), (DropoutVariant.MC_VANILLA, "recurrent")}
ENSEMBLES = [
    pytest.param(
        variant, kind, id=f"{variant}-{kind}", marks=() if (variant, kind) in DEFAULT_KINDS else pytest.mark.slow
    )
    for variant in MONTE_CARLO
    for kind in KINDS
]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Gives the path of an artifact with Monte Carlo dropout of one variant, in one kind of network; made once."""

    @cache
    def made(variant, kind):
        config = {**SMALL, "dropout_rate": 0.3, "dropout_variant": variant.value, **KINDS[kind]}
        config["output_attention"] = False
        target = tmp_path_factory.mktemp("mc") / f"{variant}-{kind}"
        return publish(make_checkpoint(config, spread=0.1), target).artifact.path

    return made


@pytest.mark.parametrize(("variant", "kind"), ENSEMBLES)
def test_s003_08_members_spread_and_come_again_by_seed_in_every_backend(ensemble, variant, kind):
    forecast = forecast_on(europe())
    path = ensemble(variant, kind)
    with Upscaler.open(path, backend="onnxruntime") as engine, Upscaler.open(path, backend="torch") as network:
        assert engine.contract.stochastic
        many = engine.upscale_forecast(forecast, Request(members=20, seed=7)).members
        assert many.shape[:2] == (20, 3)
        assert many.std(axis=0).mean() > 0.05
        again = engine.upscale_forecast(forecast, Request(members=3, seed=7)).members
        np.testing.assert_array_equal(again, many[:3])  # by seed, and whether others are made too or not
        other = engine.upscale_forecast(forecast, Request(members=3, seed=8)).members
        assert np.abs(other - again).max() > 0.05
        same = network.upscale_forecast(forecast, Request(members=3, seed=7)).members
        np.testing.assert_allclose(same, again, atol=1e-4 * 17)


@pytest.mark.parametrize("grid", [europe(), globe()], ids=["europe", "globe"])
@pytest.mark.parametrize(("variant", "kind"), ENSEMBLES)
def test_x_3_a_member_does_not_depend_on_tiles_or_streams(ensemble, variant, grid, kind):
    forecast = forecast_on(grid)
    with Upscaler.open(ensemble(variant, kind)) as upscaler:
        whole = upscaler.upscale_forecast(
            forecast, Request(members=2, seed=1, tile=max(grid.shape), extent="full")
        ).members
        for tile in (3, 5):
            tiled = upscaler.upscale_forecast(forecast, Request(members=2, seed=1, tile=tile, extent="full")).members
            np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * 17)
        frames = ((time, forecast.frame(index)) for index, time in enumerate(forecast.times.valid_times))
        request = Request(members=2, seed=1, extent="full")
        streamed = list(upscaler.stream(frames, ("t2m",), grid, request))
        assert [each.member for each in streamed] == [0, 1] * 3
        stacked = np.stack([np.stack([each.values for each in streamed[member::2]]) for member in range(2)])
        np.testing.assert_allclose(stacked, whole, rtol=0, atol=1e-5 * 17)


def test_x_3_a_member_of_a_part_of_the_world_is_the_worlds_member(ensemble):
    """Away from the part's rim, where the halo stands for other cells."""
    grid = globe(24, 36)
    forecast = forecast_on(grid, frames=1)
    with Upscaler.open(ensemble(DropoutVariant.MC_VANILLA, "spatial")) as upscaler:
        reach = upscaler.contract.halo.north
        part = Grid(grid.lat[1:-1], grid.lon[3:33])
        cut = Forecast.from_arrays(
            forecast.load()[:, :, 1:-1, 3:33], ("t2m",), part, forecast.times, registration=Registration.CELL
        )
        whole = upscaler.upscale_forecast(forecast, Request(seed=4, extent="full")).values
        inner = upscaler.upscale_forecast(cut, Request(seed=4, extent="full")).values
    margin = 4 * reach
    there = whole[..., 4:-4, 12:132]
    assert there[..., margin:-margin, margin:-margin].size > 0
    np.testing.assert_allclose(
        inner[..., margin:-margin, margin:-margin], there[..., margin:-margin, margin:-margin], rtol=0, atol=1e-5 * 17
    )


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_x_3_members_are_written_along_realization(ensemble, tmp_path, suffix):
    forecast = forecast_on(europe())
    with Upscaler.open(ensemble(DropoutVariant.MC_SPATIAL, "spatial")) as upscaler:
        expected = upscaler.upscale_forecast(forecast, Request(members=3, seed=2))
        sink = open_sink(tmp_path / f"fine{suffix}")
        upscaler.run(forecast, sink, Request(members=3, seed=2, tile=4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = xr.open_dataset(sink.path, engine="zarr" if suffix == ".zarr" else None)
    assert opened["t2m"].dims == ("realization", "time", "lat", "lon")
    assert opened["realization"].attrs["standard_name"] == "realization"
    assert list(opened["realization"].values) == [0, 1, 2]
    assert opened["quality_flag"].dims == ("time", "lat", "lon")
    assert opened.attrs["gfs_sr_seed"] == "2"
    ours = opened["t2m"].sortby("lat", ascending=False).values
    np.testing.assert_allclose(ours, expected.members[:, :, 0], atol=1e-4)
    opened.close()


def test_x_3_an_ensemble_in_memory_is_the_one_in_the_file(ensemble):
    forecast = forecast_on(europe())
    with Upscaler.open(ensemble(DropoutVariant.MC_VANILLA, "spatial")) as upscaler:
        dataset = xr.Dataset(
            {"t2m": (("time", "lat", "lon"), forecast.load()[:, 0], {"units": "K"})},
            coords={"time": forecast.times.valid_times, "lat": forecast.grid.lat, "lon": forecast.grid.lon},
            attrs={"gfs_sr_registration": "cell"},
        )
        fine = upscaler.upscale(dataset, Request(members=2, seed=2))
        expected = upscaler.upscale_forecast(forecast, Request(members=2, seed=2)).members
    assert fine["t2m"].dims == ("realization", "time", "lat", "lon")
    np.testing.assert_allclose(fine["t2m"].values, expected[:, :, 0], atol=1e-4)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_x_3_a_seed_that_cannot_be_is_refused(ensemble, seed):
    with (
        Upscaler.open(ensemble(DropoutVariant.MC_VANILLA, "spatial")) as upscaler,
        pytest.raises(UsageError, match="seed"),
    ):
        upscaler.upscale_forecast(forecast_on(europe()), Request(seed=seed))


def test_x_4_plain_dropout_makes_no_ensemble(tmp_path):
    config = {**SMALL, "dropout_rate": 0.3, "dropout_variant": "spatial"}
    path = publish(make_checkpoint(config, spread=0.1), tmp_path / "model").artifact.path
    with Upscaler.open(path) as upscaler, pytest.raises(MembersRefused):
        upscaler.upscale_forecast(forecast_on(europe()), Request(members=2))


def test_the_graph_of_an_ensemble_holds_no_random_operator(ensemble):
    for variant in MONTE_CARLO:
        graph = onnx.load(ensemble(variant, "spatial") / "graphs" / "model.onnx")
        assert not [
            node.op_type for node in graph.graph.node if "Random" in node.op_type or "Bernoulli" in node.op_type
        ]


def test_s003_09_localized_weights_are_exported_and_refuse_another_grid(tmp_path):
    config = {**SMALL, "localcon_grid": [50.0, -5.0, 1.0, 9, 11]}
    checkpoint = make_checkpoint(config, spread=0.1)
    sample = make_sample(("t2m",), (3, 9, 11))
    path = publish(replace(checkpoint, sample=sample), tmp_path / "model").artifact.path
    with Upscaler.open(path) as upscaler:
        fine = upscaler.upscale_forecast(forecast_on(europe(9, 11))).values
        assert fine.shape == (3, 1, 36, 44)
        even = forecast_on(europe(9, 11))
        even = Forecast.from_arrays(
            np.full_like(even.load(), 281), ("t2m",), even.grid, even.times, registration=Registration.CELL
        )
        flat = upscaler.upscale_forecast(even).values[0, 0]
        assert abs(flat[17, 17] - flat[21, 17]) > 1e-3  # equal input, other weights
        for grid in (europe(8, 11), europe(9, 12), Grid(49.0 - np.arange(9.0), -5.0 + np.arange(11.0))):
            with pytest.raises(ShapeMismatch, match="weights for every cell"):
                upscaler.upscale_forecast(forecast_on(grid))
