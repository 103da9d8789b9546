"""Members drawn step by step: the same for any tiling, order, thread count and stop; rain that is none or above 0."""

import json
from functools import partial

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from export.publication import publish
from gfs_sr.cli.app import app
from gfs_sr.contract import Scaling
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.data.transforms import Transform
from gfs_sr.errors import Interrupted, MemoryBudgetTooSmall, UsageError
from gfs_sr.runtime.drawing import Drawing
from gfs_sr.runtime.member_store import FACTS, MemberStore
from gfs_sr.runtime.request import Request, prepare
from gfs_sr.runtime.sink import open_sink
from gfs_sr.runtime.stages import CoarseFrame, Window
from gfs_sr.runtime.step_plan import FIELDS, SPARE, canvas_bytes, fixed_bytes, plan_steps, step_bytes
from gfs_sr.runtime.upscaler import Upscaler
from tests.export.checkpoints import make_checkpoint, make_sample

SD = 17.0  # of `forecast_on`, kelvin: the least that any test's model is normalized by
LEVELS = {"n": 4, "sigma_min": 0.05, "sigma_max": 10.0}
PLAIN = {
    "family": "edm", "variables": ["t2m"], "registration": "cell", "width": 4, "multipliers": [1], "blocks": 1,
    "dropout": 0.0, "attention_heads": 2, "normalization": "cell", "attention": "none", "scale_factor": 2,
    "factors": [], "schedule": LEVELS,
}  # fmt: skip
GLOBAL = {**PLAIN, "normalization": "group", "attention": "global", "multipliers": [1, 2], "factors": [2]}
GLOBAL_MEAN = {
    "family": "unet", "variables": ["t2m"], "registration": "cell", "width": 4, "multipliers": [1], "blocks": 1,
    "dropout": 0.0, "attention_heads": 2, "scale_factor": 2, "time_factor": 1,
}  # fmt: skip
MODELS = {
    "plain": PLAIN,
    "shared": {**PLAIN, "variables": ["t2m", "msl"], "shared": True},
    "temporal": {**PLAIN, "temporal": True, "time_factor": 2},
    "local units": {**PLAIN, "scale_free": True},
    "global": GLOBAL,
    "rain": {**PLAIN, "variables": ["tp"]},
    "around a global mean": {**PLAIN, "mean": GLOBAL_MEAN},
    "shared, around a global mean": {**PLAIN, "shared": True, "mean": GLOBAL_MEAN},
    "around a global mean of all frames": {**PLAIN, "mean": {**GLOBAL_MEAN, "temporal": True}},
}


def of_rain(checkpoint):
    """The same with the logarithm that precipitation is modelled by."""
    scaling = {"tp": Scaling(mean=0.0, sd=2.0, transform=Transform.LOG10_1P)}
    contract = checkpoint.contract.model_copy(update={"normalization": scaling})
    amounts = make_sample(("tp",))
    amounts.values[:] = np.maximum(amounts.values, 0)
    object.__setattr__(checkpoint, "contract", contract)
    object.__setattr__(checkpoint, "sample", amounts)
    return checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Name -> folder of a small artifact, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("drawing")

    def made(name, spread=0.1):
        target = folder / f"{name.replace(' ', '-')}-{spread}"
        if not target.is_dir():
            checkpoint = make_checkpoint(MODELS[name], spread=spread)
            publish(of_rain(checkpoint) if name == "rain" else checkpoint, target)
        return target

    return made


def europe(rows=9, columns=11):
    return Grid(50.0 - 1.0 * np.arange(rows), -5.0 + 1.0 * np.arange(columns))


def globe(rows=12, columns=18):
    return Grid(90 - 180 / rows * (np.arange(rows) + 0.5), 360 / columns * np.arange(columns))


def forecast_on(grid, frames=3, variable="t2m"):
    rng = np.random.default_rng(5)
    start = np.datetime64("2024-03-01T00", "ns")
    times = TimeAxis(start, start + np.timedelta64(6, "h").astype("timedelta64[ns]") * np.arange(frames))
    values = rng.standard_normal((frames, 1, *grid.shape)).astype(np.float32)
    values = np.maximum(4 * values, 0) if variable == "tp" else 280 + 10 * values
    return Forecast.from_arrays(values, (variable,), grid, times, registration=Registration.CELL)


def drawn(path, forecast, threads=1, backend="onnxruntime", **request):
    with Upscaler.open(path, backend=backend, threads=threads) as upscaler:
        return upscaler.upscale_forecast(forecast, Request(**{"seed": 1, "extent": "full", "members": 2, **request}))


def write_coarse(path, forecast, name="t2m", units="K"):
    xr.Dataset(
        {name: (("time", "lat", "lon"), forecast.load()[:, 0], {"units": units})},
        coords={
            "time": forecast.times.valid_times,
            "lat": ("lat", forecast.grid.lat, {"units": "degrees_north"}),
            "lon": ("lon", forecast.grid.lon, {"units": "degrees_east"}),
        },
        attrs={"gfs_sr_registration": "cell"},
    ).to_netcdf(path)
    return path


# one member, however it is drawn


@pytest.mark.parametrize("grid", [europe(), globe()], ids=["europe", "globe"])
@pytest.mark.parametrize("name", ["plain", "shared", "temporal", "local units"])
def test_s004_20_a_member_does_not_depend_on_tiles(model, name, grid):
    forecast = forecast_on(grid)
    whole = drawn(model(name), forecast, tile=max(grid.shape)).members
    assert np.isfinite(whole).all()
    assert np.abs(whole[0] - whole[1]).mean() > 0.05 * SD
    for tile in (3, 5):
        tiled = drawn(model(name), forecast, tile=tile).members
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * SD)


def test_s004_20_the_halo_of_a_step_is_smaller_than_the_fields_of_these_tests(model):
    """Else no tile would ever lack anything."""
    with Upscaler.open(model("plain")) as upscaler:
        halo = upscaler.contract.denoising.halo
    assert 0 < halo.north < 9


def test_s004_20_members_are_the_same_bits_in_any_company_order_and_number_of_threads(model):
    forecast = forecast_on(europe())
    three = drawn(model("plain"), forecast, members=3).members
    for threads in (1, 2):
        np.testing.assert_array_equal(drawn(model("plain"), forecast, threads, members=2).members, three[:2])
    other = drawn(model("plain"), forecast, seed=2).members
    assert np.abs(other - three[:2]).mean() > 0.05 * SD


def test_s004_20_members_do_not_depend_on_the_order_they_are_drawn_in(model, monkeypatch):
    forecast, plain = forecast_on(europe(), frames=1), {}
    for order in ((0, 1, 2), (2, 0, 1)):
        found = {}
        with Upscaler.open(model("plain"), backend="onnxruntime", threads=1) as upscaler:

            def in_order(self, sink, order=order, found=found):
                (window,) = self._windows()
                canvas = self.conditions(window)
                for member in order:
                    found[member] = self.draw(canvas, window.time_tile, member)

            monkeypatch.setattr(Drawing, "_draw_all", in_order)
            upscaler.upscale_forecast(forecast, Request(members=3, seed=1))
        plain[order] = found
    for member in range(3):
        np.testing.assert_array_equal(plain[0, 1, 2][member], plain[2, 0, 1][member])


@pytest.mark.parametrize("name", ["plain", "shared"])
def test_s004_20_engines_draw_the_same_member(model, name):
    forecast = forecast_on(europe(), frames=1)
    engine, network = (drawn(model(name), forecast, backend=backend).members for backend in ("onnxruntime", "torch"))
    np.testing.assert_allclose(engine, network, rtol=0, atol=1e-4 * SD)


def test_s004_20_a_part_of_the_world_draws_the_worlds_noise(model):
    """One step, so that the rim, where the halo stands for other cells, is as wide as the denoiser's halo."""
    grid = globe(24, 36)
    forecast = forecast_on(grid, frames=1)
    part = Grid(grid.lat[1:-1], grid.lon[3:33])
    cut = Forecast.from_arrays(
        forecast.load()[:, :, 1:-1, 3:33], ("t2m",), part, forecast.times, registration=Registration.CELL
    )
    whole, inner = (drawn(model("plain"), each, schedule={"n": 1}).members for each in (forecast, cut))
    with Upscaler.open(model("plain")) as upscaler:
        contract = upscaler.contract
    margin = 2 * (contract.denoising.halo.north + contract.halo.north)
    there = whole[..., 2:-2, 6:66]
    kept = np.s_[..., margin:-margin, margin:-margin]
    assert there[kept].size > 0
    np.testing.assert_allclose(inner[kept], there[kept], rtol=0, atol=1e-5 * SD)


# a denoiser that sees everything


def test_a_global_denoiser_is_run_whole(model):
    result = drawn(model("global"), forecast_on(europe()))
    assert result.summary.exact
    assert result.summary.tile == {"time": 1, "lat": 9, "lon": 11}


def test_a_global_denoiser_in_tiles_is_blended_and_marked(model, tmp_path):
    forecast, sink = forecast_on(europe(), frames=1), open_sink(tmp_path / "fine.nc")
    with Upscaler.open(model("global"), backend="onnxruntime", threads=1) as upscaler:
        request = Request(members=2, seed=1, tile=4, extent="full")
        summary = upscaler.run(forecast, sink, request)
        again = upscaler.upscale_forecast(forecast, request)
        whole = upscaler.upscale_forecast(forecast, Request(members=2, seed=1, extent="full"))
    assert not summary.exact
    assert any("blended at every step" in warning for warning in summary.warnings)
    with xr.open_dataset(sink.path) as file:
        assert file.attrs["gfs_sr_exact"] == "false"
        assert "blended" in file.attrs["gfs_sr_warnings"]
        np.testing.assert_allclose(file["t2m"].sortby("lat", ascending=False).values, again.members[:, :, 0], atol=1e-3)
    assert np.abs(again.members - whole.members).mean() > 1e-3 * SD  # it is another member


@pytest.mark.parametrize("grid", [europe(), globe()], ids=["europe", "globe"])
@pytest.mark.parametrize("tile", [2, 4, 7])
def test_blending_leaves_no_seam_where_the_denoiser_looks_at_no_neighbor(model, grid, tile):
    """Untrained, it is a multiple of each cell: blended tiles are then the whole field, cell by cell."""
    forecast = forecast_on(grid, frames=1)
    whole, tiled = (drawn(model("global", spread=0.0), forecast, tile=each) for each in (None, tile))
    assert whole.summary.exact
    assert not tiled.summary.exact
    np.testing.assert_allclose(tiled.members, whole.members, rtol=0, atol=1e-5 * SD)


# a box

BOXES = {
    "inside": "30,40,10,70",
    "across the seam": "30,-15,10,20",
    "at a pole": "90,40,60,70",
    "near the end of the rows": "-60,100,-75,130",
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("name", ["plain", "shared"])
def test_the_members_of_a_box_are_those_of_the_world(model, name, box):
    forecast = forecast_on(globe(60, 90), frames=1)
    whole, inner = (drawn(model(name), forecast, extent=extent, schedule={"n": 2}, tile=30) for extent in ("full", box))
    rows = [int(np.abs(whole.grid.lat - each).argmin()) for each in inner.grid.lat]
    columns = [int(np.abs((whole.grid.lon - each + 180) % 360 - 180).argmin()) for each in inner.grid.lon]
    assert min(inner.members.shape[-2:]) > 5
    np.testing.assert_allclose(inner.members, whole.members[..., rows, :][..., columns], rtol=0, atol=1e-5 * SD)


def test_a_box_is_drawn_with_what_its_steps_can_see_around_it(model, monkeypatch):
    forecast, sizes, conditions = forecast_on(globe(120, 180), frames=1), [], Drawing.conditions
    monkeypatch.setattr(Drawing, "conditions", lambda self, window: (
        sizes.append(window.frames[0].values.shape[-2:]), conditions(self, window))[1])  # fmt: skip
    for steps in (1, 2, 40):
        drawn(model("plain"), forecast, extent=BOXES["inside"], schedule={"n": steps}, members=1)
    with Upscaler.open(model("plain")) as upscaler:
        contract = upscaler.contract
    reach = [steps * contract.denoising.halo.north + contract.halo.north + SPARE for steps in (1, 2)]
    assert sizes[1][1] - sizes[0][1] == 2 * (reach[1] - reach[0]) > 0
    assert sizes[0][0] < 60
    assert sizes[0][1] < 60
    assert sizes[2] == (120, 180)  # many steps see the world


def test_a_box_of_a_masked_forecast_is_filled_as_the_world_is(model):
    forecast = forecast_on(globe(60, 90), frames=1)
    values = forecast.load().copy()
    values[:, :, 20:25, 8:20] = np.nan
    masked = Forecast.from_arrays(values, ("t2m",), forecast.grid, forecast.times, registration=Registration.CELL)
    whole, inner = (
        drawn(model("plain"), masked, extent=extent, schedule={"n": 1}) for extent in ("full", BOXES["inside"])
    )
    rows = [int(np.abs(whole.grid.lat - each).argmin()) for each in inner.grid.lat]
    columns = [int(np.abs(whole.grid.lon - each).argmin()) for each in inner.grid.lon]
    expected = whole.members[..., rows, :][..., columns]
    np.testing.assert_array_equal(np.isnan(inner.members), np.isnan(expected))
    np.testing.assert_allclose(inner.members, expected, rtol=0, atol=1e-5 * SD)


# a mean that sees everything


@pytest.mark.parametrize("name", ["around a global mean", "shared, around a global mean"])
def test_the_mean_of_the_whole_field_is_the_same_for_any_tile_of_the_denoiser(model, name):
    forecast = forecast_on(europe())
    with Upscaler.open(model(name)) as upscaler:
        assert upscaler.contract.halo == "global"
        assert upscaler.contract.denoising.halo != "global"
    whole = drawn(model(name), forecast)
    assert np.isfinite(whole.members).all()
    tiled = drawn(model(name), forecast, tile=3)
    assert tiled.summary.exact
    np.testing.assert_allclose(tiled.members, whole.members, rtol=0, atol=1e-5 * SD)


@pytest.mark.parametrize(
    ("name", "together"), [("around a global mean", 1), ("around a global mean of all frames", 3), ("temporal", 3)]
)
def test_memory_is_counted_of_the_frames_that_are_drawn_together(model, monkeypatch, name, together):
    forecast, sizes, conditions = forecast_on(europe()), [], Drawing.conditions

    def seen(self, window):
        canvas = conditions(self, window)
        sizes.append(canvas.mean.nbytes + canvas.unit.nbytes + canvas.condition.nbytes)
        return canvas

    monkeypatch.setattr(Drawing, "conditions", seen)
    with Upscaler.open(model(name), backend="onnxruntime", threads=1) as upscaler:
        job = prepare(upscaler.contract, forecast, Request(extent="full"))
        upscaler.upscale_forecast(forecast, Request(seed=1, extent="full"))
    assert len(sizes) == 3 // together
    # beside the conditions, the member and what a sampler keeps
    assert max(sizes) + (1 + FIELDS) * canvas_field(job, together) == canvas_bytes(job)


def canvas_field(job, frames):
    """Bytes of one field of all variables on fine cells."""
    contract = job.contract
    return 4 * frames * contract.time_factor * contract.scale_factor**2 * int(np.prod(job.horizontal.coarse.shape))


# stopped and taken up


def counted(monkeypatch):
    calls, draw = [], Drawing.draw
    monkeypatch.setattr(Drawing, "draw", lambda self, canvas, tile, member: (
        calls.append((tile, member)), draw(self, canvas, tile, member))[1])  # fmt: skip
    return calls


def stopped_after(count):
    seen = []

    def progress(done, total):
        seen.append(done)
        if len(seen) == count:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_stopped_run_draws_the_missing_members_alone(model, tmp_path, monkeypatch, suffix):
    forecast, target = forecast_on(europe(), frames=2), tmp_path / f"fine{suffix}"
    request = Request(members=3, seed=1, resume=True, extent="full")
    with Upscaler.open(model("plain"), backend="onnxruntime", threads=1) as upscaler:
        whole = upscaler.upscale_forecast(forecast, Request(members=3, seed=1, extent="full")).members
        calls = counted(monkeypatch)
        with pytest.raises(Interrupted, match="kept for --resume"):
            upscaler.run(forecast, open_sink(target), request, stopped_after(4))
        assert not target.exists()
        assert calls == [(0, 0), (0, 1), (0, 2), (1, 0)]
        calls.clear()
        upscaler.run(forecast, open_sink(target), request)
    assert calls == [(1, 1), (1, 2)]
    with xr.open_dataset(target, engine="zarr" if suffix == ".zarr" else None) as file:
        ours = file["t2m"].sortby("lat", ascending=False).values
    np.testing.assert_allclose(ours, whole[:, :, 0], rtol=0, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_more_members_of_a_stopped_run_are_the_old_ones_and_new_ones(model, tmp_path, monkeypatch):
    forecast, target = forecast_on(europe(), frames=1), tmp_path / "fine.nc"
    with Upscaler.open(model("plain"), backend="onnxruntime", threads=1) as upscaler:
        calls = counted(monkeypatch)
        with pytest.raises(Interrupted):
            upscaler.run(forecast, open_sink(target), Request(members=2, resume=True), stopped_after(2))
        upscaler.run(forecast, open_sink(target), Request(members=3, resume=True))
    assert calls == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize("change", [{"seed": 2}, {"schedule": {"n": 3}}, {"tile": 4}], ids=str)
def test_members_of_another_run_are_not_taken_up(model, tmp_path, monkeypatch, change):
    forecast, target = forecast_on(europe(), frames=1), tmp_path / "fine.nc"
    with Upscaler.open(model("plain"), backend="onnxruntime", threads=1) as upscaler:
        calls = counted(monkeypatch)
        with pytest.raises(Interrupted):
            upscaler.run(forecast, open_sink(target), Request(members=2, resume=True), stopped_after(1))
        upscaler.run(forecast, open_sink(target), Request(**{"members": 2, "resume": True, **change}))
    assert calls == [(0, 0), (0, 0), (0, 1)]


def test_members_of_frames_that_changed_are_drawn_again_and_no_others(model, tmp_path, monkeypatch):
    forecast, target = forecast_on(europe(), frames=2), tmp_path / "fine.nc"
    values = forecast.load().copy()
    values[1, 0, 4, 5] += 1.0
    changed = Forecast.from_arrays(values, ("t2m",), forecast.grid, forecast.times, registration=Registration.CELL)
    request = Request(members=2, resume=True)
    with Upscaler.open(model("plain"), backend="onnxruntime", threads=1) as upscaler:
        calls = counted(monkeypatch)
        with pytest.raises(Interrupted):
            upscaler.run(forecast, open_sink(target), request, stopped_after(4))
        calls.clear()
        upscaler.run(changed, open_sink(target), request)
    assert calls == [(1, 0), (1, 1)]


def test_a_run_that_may_be_resumed_reads_each_frame_once(model, tmp_path, monkeypatch):
    forecast, read, frame = forecast_on(europe(), frames=3), [], Forecast.frame
    monkeypatch.setattr(Forecast, "frame", lambda self, index: (read.append(index), frame(self, index))[1])
    with Upscaler.open(model("plain"), backend="onnxruntime", threads=1) as upscaler:
        upscaler.run(forecast, open_sink(tmp_path / "fine.nc"), Request(members=2, resume=True))
    assert read == [0, 1, 2]


def window_of(*values):
    return Window(0, 0, tuple(CoarseFrame(np.full((1, 2, 2), each, np.float32), None, True) for each in values))


def test_a_kept_member_with_a_flipped_byte_is_drawn_again(tmp_path):
    store, window = MemberStore(tmp_path / "fine.nc", {"seed": "1"}), window_of(280, 281)
    field = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    store.save(window, 7, field)
    np.testing.assert_array_equal(MemberStore(tmp_path / "fine.nc", {"seed": "1"}).load(window, 7), field)
    assert store.load(window_of(280, 282), 7) is None
    assert store.load(window, 8) is None
    (path,) = (each for each in store.folder.iterdir() if each.name != FACTS)
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    assert store.load(window, 7) is None


def test_only_a_file_is_resumed(model):
    with pytest.raises(UsageError, match="to a file"):
        drawn(model("plain"), forecast_on(europe(), frames=1), resume=True)


# within a promised memory


def test_tiles_of_a_step_fit_what_was_promised(model):
    with Upscaler.open(model("plain")) as upscaler:
        job = prepare(upscaler.contract, forecast_on(globe(60, 120), frames=1), Request())
    whole = plan_steps(job, None, None)
    assert whole.spatial_tiles == 1
    for share in (2, 4):
        budget = fixed_bytes(job, 0) + step_bytes(job, whole) // share
        plan = plan_steps(job, None, budget)
        assert plan.spatial_tiles > 1
        assert step_bytes(job, plan) <= step_bytes(job, whole) / share
    with pytest.raises(MemoryBudgetTooSmall, match=r"needs \d{2,} MiB at least"):
        plan_steps(job, None, 1000)


# rain


def test_s004_25_members_of_rain_are_none_or_above_0(model):
    members = drawn(model("rain"), forecast_on(europe(), variable="tp"), members=4).members
    assert np.isfinite(members).all()
    assert members.min() == 0  # dry cells are dry to the last bit
    assert 0.02 < (members == 0).mean() < 0.98


def test_conserved_members_have_the_amounts_of_the_coarse_cells(model):
    forecast = forecast_on(europe(), variable="tp")
    free, kept = (drawn(model("rain"), forecast, members=4, conserve=each).members for each in (False, True))
    lat = (50.0 - 1.0 * np.arange(9))[:, None] + np.array([0.25, -0.25])
    area = np.sin(np.deg2rad(lat + 0.25)) - np.sin(np.deg2rad(lat - 0.25))  # of the fine rows, each coarse row's two
    share = (area / area.sum(axis=1, keepdims=True))[:, :, None, None] / 2
    blocks = kept[:, :, 0].reshape(4, 3, 9, 2, 11, 2).astype(np.float64)
    coarse = (blocks * share).sum(axis=(3, 5))
    np.testing.assert_allclose(coarse, np.broadcast_to(forecast.load()[:, 0], coarse.shape), rtol=1e-5, atol=1e-6)
    assert kept.min() == 0
    assert ((kept == 0) >= (free == 0))[np.broadcast_to(forecast.load()[:, 0], coarse.shape).repeat(2, 2).repeat(2, 3)[
        :, :, None] == 0].all()  # fmt: skip
    assert kept.std(axis=0).mean() > 0.01


def test_amounts_of_buckets_add_up_too():
    from gfs_sr.runtime.amounts import correction, on_fine

    rng = np.random.default_rng(1)
    fine = np.maximum(rng.standard_normal((6, 4, 6)), 0)
    fine[3:, :2, :2] = 0  # all dry under a wet coarse cell
    coarse = rng.uniform(1, 5, (2, 2, 3)).astype(np.float32)
    for adds in (True, False):
        factor, added = correction(fine, coarse, np.ones(4), 2, 3, adds=adds)
        made = fine * on_fine(factor, 2, 3) + on_fine(added, 2, 3)
        means = made.reshape(2, 3, 2, 2, 3, 2).mean(axis=(3, 5))
        np.testing.assert_allclose(means.sum(axis=1) if adds else means.mean(axis=1), coarse, rtol=1e-6)
        assert made.min() >= 0


@pytest.mark.parametrize(
    ("name", "request_", "said"),
    [
        ("plain", {"conserve": True}, "no amounts"),
        ("plain", {"sampler": {"integrator": "rk4"}}, "integrator"),
        ("plain", {"schedule": {"steps": 3}}, "steps"),
        ("plain", {"sampler": {"integrator": "dpmpp_2m", "s_churn": 5.0}}, "takes no churn"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(model, name, request_, said):
    with pytest.raises(UsageError, match=said) as refused:
        drawn(model(name), forecast_on(europe(), frames=1), **request_)
    assert "[type=" not in str(refused.value)  # what is wrong, not where a library keeps it


@pytest.mark.parametrize("request_", [{"sampler": {"integrator": "heun"}}, {"conserve": True}], ids=str)
def test_a_deterministic_model_takes_no_settings_of_members(request_):
    with pytest.raises(UsageError, match="draws"):
        drawn("interpolation-cell", forecast_on(europe()), members=1, **request_)


def test_a_model_that_draws_does_not_stream(model):
    forecast = forecast_on(europe())
    frames = ((time, forecast.frame(index)) for index, time in enumerate(forecast.times.valid_times))
    with Upscaler.open(model("plain")) as upscaler, pytest.raises(UsageError, match="step by step"):
        next(iter(upscaler.stream(frames, ("t2m",), forecast.grid)))


# by command


def test_s004_19_members_need_no_truth(model, tmp_path):
    coarse, target = write_coarse(tmp_path / "coarse.nc", forecast_on(europe())), tmp_path / "fine.nc"
    given = ["upscale", str(coarse), "-o", str(target), "--model", str(model("plain")), "--members", "3", "--seed=5",
             "--sampler", "integrator=heun,s_churn=2", "--schedule=n=3", "--backend=onnxruntime", "--json"]  # fmt: skip
    told = CliRunner().invoke(app, given)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["frames"] == 3
    with xr.open_dataset(target) as file:
        assert file["t2m"].dims == ("realization", "time", "lat", "lon")
        assert list(file["realization"].values) == [0, 1, 2]
        assert file.attrs["gfs_sr_seed"] == "5"
        sampling = json.loads(file.attrs["gfs_sr_sampling"])
        first = file["t2m"].load()
    assert sampling["sampler"]["integrator"] == "heun"
    assert (sampling["sampler"]["s_churn"], sampling["schedule"]["n"]) == (2.0, 3)
    again = [str(tmp_path / "again.nc") if each == str(target) else each for each in given]
    assert CliRunner().invoke(app, again).exit_code == 0
    with xr.open_dataset(tmp_path / "again.nc") as file:
        xr.testing.assert_equal(file["t2m"].load(), first)


@pytest.mark.parametrize("text", ["n", "n=", "=3", "n=3,n=4"])
def test_settings_that_are_no_pairs_are_refused(model, tmp_path, text):
    coarse = write_coarse(tmp_path / "coarse.nc", forecast_on(europe()))
    told = CliRunner().invoke(
        app, ["upscale", str(coarse), "-o", str(tmp_path / "x.nc"), "--model", str(model("plain")), "--schedule", text]
    )
    assert told.exit_code != 0
    assert "--schedule" in told.output


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("name", ["plain", "shared"])
def test_x_3_members_of_a_diffusion_are_written_along_realization(model, tmp_path, suffix, name):
    forecast, sink = forecast_on(europe(), frames=2), open_sink(tmp_path / f"fine{suffix}")
    expected = drawn(model(name), forecast).members
    with Upscaler.open(model(name), backend="onnxruntime", threads=1) as upscaler:
        upscaler.run(forecast, sink, Request(members=2, seed=1, extent="full"))
    opener = partial(xr.open_dataset, engine="zarr" if suffix == ".zarr" else None)
    with opener(sink.path) as file:
        assert file["t2m"].dims == ("realization", "time", "lat", "lon")
        assert file["quality_flag"].dims == ("time", "lat", "lon")
        ours = file["t2m"].sortby("lat", ascending=False).values
    np.testing.assert_allclose(ours, expected[:, :, 0], rtol=0, atol=1e-4)
