"""The command line: flags, errors, exit codes, interruption, import cost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfs_sr import cli
from gfs_sr.contract import Skill
from gfs_sr.runtime.artifact import digest
from tests.artifacts import make_repeat_artifact
from tests.disks import UNLIMITED, command, fill, small_disk
from tests.forecasts import make_forecast

SUBPROCESS_TIMEOUT = 120


def dataset(frames=3, **changes) -> xr.Dataset:
    """A good CF forecast of t2m and sp; `changes` are applied to its frames."""
    forecast = make_forecast(frames, ("t2m", "sp"))
    values = forecast.load()
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "t2m": (dims, values[:, 0], {"units": "K", "standard_name": "air_temperature"}),
            "sp": (dims, values[:, 1], {"units": "Pa", "standard_name": "surface_air_pressure"}),
        },
        {
            "time": ("time", forecast.times.valid_times, {"standard_name": "time"}),
            "latitude": ("latitude", forecast.grid.lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "longitude": ("longitude", forecast.grid.lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "coarse.nc"
    dataset().to_netcdf(path)
    return path


def run(arguments, capsys, monkeypatch):
    """(exit code, stdout, stderr) of the command line in this process."""
    monkeypatch.setattr(sys, "argv", ["gfs-sr", *map(str, arguments)])
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        signal.signal(signal.SIGTERM, previous)
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def gfs_sr(capsys, monkeypatch):
    return lambda *arguments: run(arguments, capsys, monkeypatch)


def spoil(path: Path, spoiled: xr.Dataset, **encoding) -> Path:
    spoiled.to_netcdf(path, encoding=encoding or None)
    return path


def truncated(path: Path) -> Path:
    dataset().to_netcdf(path)
    path.write_bytes(path.read_bytes()[:3000])
    return path


def rotated(path: Path) -> Path:
    good = dataset()
    lat, lon = np.meshgrid(good.latitude, good.longitude, indexing="ij")
    curved = good.rename(latitude="y", longitude="x").drop_vars(["y", "x"])
    curved = curved.assign_coords(
        latitude=(("y", "x"), lat + 0.1 * lon, {"units": "degrees_north"}),
        longitude=(("y", "x"), lon - 0.1 * lat, {"units": "degrees_east"}),
    )
    return spoil(path, curved)


def irregular(path: Path) -> Path:
    good = dataset()
    lat = good.latitude.values.copy()
    lat[4:] -= 0.4
    return spoil(path, good.assign_coords(latitude=("latitude", lat, good.latitude.attrs)))


def all_nan(path: Path) -> Path:
    bad = dataset()
    bad["t2m"][1] = np.nan
    return spoil(path, bad)


def unmasked(path: Path) -> Path:
    bad = dataset()
    bad["sp"][2, 3, 4] = -9999.0
    return spoil(path, bad)


def wrong_units(path: Path) -> Path:
    bad = dataset()
    bad["t2m"].attrs["units"] = "m s-1"
    return spoil(path, bad)


def other_registration(path: Path) -> Path:
    return spoil(path, dataset().assign_attrs(gfs_sr_registration="cell"))


def nothing_known(path: Path) -> Path:
    unknown = dataset().rename(t2m="foo", sp="bar")
    for name in ("foo", "bar"):
        unknown[name].attrs = {"units": "1"}
    return spoil(path, unknown)


def no_weather(path: Path) -> Path:
    path.write_text("no weather in here")
    return path


BAD_INPUTS = {
    "missing file": (lambda path: path, (), "MissingFile"),
    "no data format": (no_weather, (), "UnreadableFile"),
    "truncated file": (truncated, (), "UnreadableFile"),
    "missing variable": (lambda path: spoil(path, dataset()), ("--variables", "t2m,d2m"), "MissingVariable"),
    "missing lead time": (lambda path: spoil(path, dataset(5).isel(time=[0, 1, 3, 4])), (), "GapInLeadTimes"),
    "doubled time": (lambda path: spoil(path, dataset(4).isel(time=[0, 1, 1, 2])), (), "UnsortedTimes"),
    "unsorted times": (lambda path: spoil(path, dataset(4).isel(time=[0, 2, 1, 3])), (), "UnsortedTimes"),
    "wrong units": (wrong_units, (), "WrongUnits"),
    "rotated grid": (rotated, (), "UnsupportedGrid"),
    "irregular grid": (irregular, (), "UnsupportedGrid"),
    "all-NaN field": (all_nan, (), "AllMissing"),
    "unmasked -9999": (unmasked, (), "ValuesOutOfBounds"),
    "other registration": (other_registration, (), "RegistrationMismatch"),
    "no known variable": (nothing_known, (), None),
}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_ends_in_one_clear_error_and_no_output(gfs_sr, node_artifact, tmp_path, case, suffix):
    make, options, expected = BAD_INPUTS[case]
    source = make(tmp_path / "bad.nc")
    before = set(tmp_path.iterdir())
    target = tmp_path / f"fine{suffix}"
    code, out, err = gfs_sr("upscale", source, "-o", target, "--model", node_artifact, *options)
    assert code == 3
    assert out == ""
    assert err.startswith("error: ")
    assert [line.split(":")[0].strip() for line in err.splitlines()] == ["error", "where", "mend"]
    assert "Traceback" not in err
    assert set(tmp_path.iterdir()) == before
    if expected is not None:
        _, out, _ = gfs_sr("upscale", source, "-o", target, "--model", node_artifact, *options, "--json")
        assert json.loads(out)["error"]["class"] == expected


@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_a_damaged_artifact_is_refused_with_exit_code_4(gfs_sr, node_artifact, source, tmp_path, damage):
    import shutil

    artifact = tmp_path / "artifact"
    shutil.copytree(node_artifact, artifact)
    graph = artifact / "graphs" / "model.onnx"
    if damage == "flip":
        data = bytearray(graph.read_bytes())
        data[-1] ^= 1
        graph.write_bytes(data)
    else:
        graph.unlink()
    target = tmp_path / "fine.nc"
    code, _, err = gfs_sr("upscale", source, "-o", target, "--model", artifact)
    assert code == 4
    assert "mend:" in err
    assert not target.exists()


USAGE_ERRORS = {
    "output of no known kind": (("-o", "fine.txt"), "UsageError"),
    "no folder for the output": (("-o", "nowhere/fine.nc"), "UsageError"),
    "no such backend": (("-o", "fine.nc", "--backend", "abacus"), "UsageError"),
    "no such precision": (("-o", "fine.nc", "--precision", "fp8"), "UsageError"),
    "no such registration": (("-o", "fine.nc", "--registration", "edge"), "UsageError"),
    "no such extent": (("-o", "fine.nc", "--extent", "all"), "UsageError"),
    "budget too small": (("-o", "fine.nc", "--memory", "1MiB"), "MemoryBudgetTooSmall"),
    "members of a deterministic model": (("-o", "fine.nc", "--members", "3"), "MembersRefused"),
    "statics for a model without": (("-o", "fine.nc", "--statics", "s.nc"), "UsageError"),
    "too many digits": (("-o", "fine.nc", "--digits", "9"), "UsageError"),
    "tile of nothing": (("-o", "fine.nc", "--tile", "0"), "UsageError"),
    "unknown option": (("-o", "fine.nc", "--rocket"), "UsageError"),
}


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_wrong_usage_is_exit_code_2(gfs_sr, node_artifact, source, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    options, expected = USAGE_ERRORS[case]
    code, out, _ = gfs_sr("upscale", source, "--model", node_artifact, *options, "--json")
    assert code == 2
    error = json.loads(out)["error"]
    assert error["class"] == expected
    assert error["exit_code"] == 2
    assert set(error) == {"class", "what", "where", "mend", "exit_code"}
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.nc"]


def test_an_absent_engine_is_exit_code_5(gfs_sr, node_artifact, source, tmp_path):
    code, _, err = gfs_sr("upscale", source, "-o", tmp_path / "f.nc", "--model", node_artifact, "--backend", "tensorrt")
    assert code == 5
    assert "tensorrt" in err.lower()


def test_an_unexpected_error_is_one_line_and_exit_code_1(gfs_sr, node_artifact, source, tmp_path, monkeypatch):
    def bug(*_args, **_options):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("gfs_sr.runtime.upscaler.prepare", bug)
    arguments = ("upscale", source, "-o", tmp_path / "f.nc", "--model", node_artifact)
    code, _, err = gfs_sr(*arguments)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert "--debug" in err
    code, _, err = gfs_sr(*arguments, "--debug")
    assert code == 1
    assert "Traceback" in err


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_disk_that_takes_no_more_is_exit_code_7_and_leaves_nothing(node_artifact, source, tmp_path, suffix, as_json):
    target = tmp_path / "out" / f"fine{suffix}"
    target.parent.mkdir()
    ended = upscaled(source, target, node_artifact, *(["--json"] if as_json else []), most_bytes=4096)
    assert ended.returncode == 7
    told = json.loads(ended.stdout)["error"]["what"] if as_json else ended.stderr
    assert "could not be written" in told
    assert as_json or f"output {target}" in ended.stderr
    assert "bug" not in ended.stdout + ended.stderr
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_full_disk_keeps_the_older_output(node_artifact, source, tmp_path, suffix):
    with small_disk(tmp_path / "disk", 600) as disk:
        target = disk / f"fine{suffix}"
        first = upscaled(source, target, node_artifact)
        assert first.returncode == 0, first.stderr
        before = tree_digest(target)
        fill(disk, 16384)
        ended = upscaled(source, target, node_artifact)
        assert ended.returncode == 7
        assert "(0.0 MiB free)" in ended.stderr
        assert tree_digest(target) == before
        assert sorted(path.name for path in disk.iterdir()) == ["filler", target.name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("options", [("models",), ("models", "--json"), ("inspect", "--json", "absent")], ids=" ".join)
def test_output_that_cannot_be_printed_is_exit_code_7(options):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "gfs_sr.cli", *options],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=SUBPROCESS_TIMEOUT, check=False,
        )  # fmt: skip
    assert ended.returncode == 7
    assert ended.stderr.startswith("error: the report could not be printed: No space left on device\n")
    assert "Traceback" not in ended.stderr


def tree_digest(path: Path) -> dict[str, str]:
    return {str(each.relative_to(path)): digest(each) for each in [path, *path.rglob("*")] if each.is_file()}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_the_exit_code_is_right_where_the_error_cannot_be_printed(node_artifact, tmp_path):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "gfs_sr.cli", "upscale", tmp_path / "absent.nc", "-o", tmp_path / "f.nc"]
        command += ["--model", node_artifact]
        ended = subprocess.run([*map(str, command)], stderr=full, timeout=SUBPROCESS_TIMEOUT, check=False)
    assert ended.returncode == 3


@pytest.mark.parametrize("command", [["demo"], ["evaluate", "--data", "SOURCE"]], ids=["demo", "evaluate"])
def test_a_file_where_a_folder_goes_is_wrong_usage(gfs_sr, source, tmp_path, command):
    target = tmp_path / "out"
    target.write_text("a file")
    given = [str(source) if each == "SOURCE" else each for each in command]
    code, _, err = gfs_sr(*given, "-o", target)
    assert code == 2
    assert "bug" not in err
    assert target.read_text() == "a file"


def test_a_link_that_leads_nowhere_is_replaced(gfs_sr, node_artifact, source, tmp_path):
    target = tmp_path / "fine.zarr"
    target.symlink_to(tmp_path / "nowhere" / "x")
    assert gfs_sr("upscale", source, "-o", target, "--model", node_artifact)[0] == 0
    assert target.is_dir()
    assert not target.is_symlink()


def test_json_is_one_object_with_the_promised_keys(gfs_sr, node_artifact, source, tmp_path):
    target = tmp_path / "fine.zarr"
    code, out, err = gfs_sr("upscale", source, "-o", target, "--model", node_artifact, "--json", "--tile", "5")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    promised = (
        "output model model_sha256 backend provider precision tile halo exact frames fine_cells seconds "
        "cells_per_second stage_seconds peak_rss_bytes warnings"
    )
    assert set(promised.split()) <= set(summary)
    assert summary["output"] == str(target)
    assert summary["tile"]["lat"] == 5
    assert summary["model_sha256"] == digest(node_artifact / "manifest.json")
    assert target.exists()


def test_names_and_orientation_of_the_file_are_kept(gfs_sr, node_artifact, tmp_path):
    source = tmp_path / "coarse.nc"
    turned = dataset().isel(latitude=slice(None, None, -1)).rename(t2m="tas", latitude="lat", longitude="lon")
    turned.to_netcdf(source)
    assert gfs_sr("upscale", source, "-o", tmp_path / "fine.nc", "--model", node_artifact)[0] == 0
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        assert fine["tas"].dims == ("time", "lat", "lon")
        assert np.all(np.diff(fine["lat"]) > 0)
        np.testing.assert_allclose(
            fine["tas"].values[::6, ::6, ::6], turned["tas"].values, atol=1e-3
        )  # NODE: coarse points are fine points


@pytest.mark.parametrize("registration", ["node", "cell"])
def test_what_coarsen_writes_is_upscaled_by_its_own_model_alone(
    gfs_sr, node_artifact, cell_artifact, tmp_path, registration
):
    fine = tmp_path / "hourly.nc"
    forecast = dataset(7)
    grown = forecast.interp(latitude=np.linspace(50, 42, 24), longitude=np.linspace(5, 15, 36))
    for name in ("latitude", "longitude"):
        grown[name].attrs = forecast[name].attrs
    for name in ("t2m", "sp"):
        grown[name].attrs = forecast[name].attrs
    grown.to_netcdf(fine)
    coarse = tmp_path / "coarse.nc"
    code, _, err = gfs_sr("coarsen", fine, "-o", coarse, "--registration", registration, "--time-factor", "1")
    assert code == 0, err
    models = {"node": node_artifact, "cell": cell_artifact}
    target = tmp_path / "fine.nc"
    assert gfs_sr("upscale", coarse, "-o", target, "--model", models.pop(registration))[0] == 0
    (other,) = models.values()
    assert gfs_sr("upscale", coarse, "-o", tmp_path / "no.nc", "--model", other)[0] == 3


def test_a_report_has_no_line_without_a_fact(gfs_sr, tmp_path, node_artifact, source):
    for told in (gfs_sr("inspect", node_artifact), gfs_sr("coarsen", source, "-o", tmp_path / "c.nc", "--crop")):
        lines = told[1].splitlines()
        assert lines
        assert not [line for line, after in zip(lines, [*lines[1:], ""], strict=True)
                    if line.rstrip().endswith(":") and not after.startswith(" ")]  # fmt: skip


def test_inspect_tells_what_a_thing_is(gfs_sr, node_artifact, source):
    code, out, _ = gfs_sr("inspect", node_artifact, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["kind"] == "artifact"
    assert report["runs_here"]["onnxruntime"].startswith("yes")
    assert report["runs_here"]["tensorrt"].startswith("no")
    assert "name: fused-node" in gfs_sr("inspect", "default")[1]
    code, out, _ = gfs_sr("inspect", source, "--json")
    report = json.loads(out)
    assert report["kind"] == "forecast"
    assert report["variables"] == ["t2m", "sp"]
    assert gfs_sr("inspect", source.parent / "nothing")[0] in {3, 4}


def test_models_lists_what_is_bundled(gfs_sr):
    code, out, _ = gfs_sr("models", "--json")
    rows = json.loads(out)
    assert code == 0
    promised = {"name", "family", "path", "default", "stochastic", "parameters", "flops_per_fine_cell"}
    assert all(promised | {"receptive_field"} <= set(row) for row in rows)
    assert {row["registration"] for row in rows if row["default"] and row["path"]} == {"node", "cell"}


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_interrupted_run_leaves_nothing_and_exits_with_6(node_artifact, tmp_path, signal_number, suffix):
    source = tmp_path / "long.nc"
    make_long(source)
    target = tmp_path / f"fine{suffix}"
    process = start_upscale(source, target, node_artifact)
    wait_for_partial(process, target)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=SUBPROCESS_TIMEOUT)
    assert process.returncode == 6, err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["long.nc"]


def test_a_killed_run_leaves_no_output_and_the_next_one_clears_up(node_artifact, tmp_path):
    source = tmp_path / "long.nc"
    make_long(source)
    target = tmp_path / "fine.nc"
    process = start_upscale(source, target, node_artifact)
    wait_for_partial(process, target)
    process.kill()
    process.communicate(timeout=SUBPROCESS_TIMEOUT)
    assert not target.exists()
    small = tmp_path / "small.nc"
    dataset().to_netcdf(small)
    process = start_upscale(small, target, node_artifact)
    process.communicate(timeout=SUBPROCESS_TIMEOUT)
    assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine.nc", "long.nc", "small.nc"]


def make_long(path: Path, frames: int = 1500) -> None:
    """A forecast that takes many seconds to upscale."""
    forecast = dataset(2)
    many = xr.concat([forecast.isel(time=[0])] * frames, dim="time")
    times = np.datetime64("2026-01-01T00", "ns") + np.timedelta64(6, "h") * np.arange(frames)
    grown = many.isel(latitude=np.arange(36) % 9, longitude=np.arange(36) % 11).assign_coords(
        time=("time", times, forecast.time.attrs),
        latitude=("latitude", 60 - 0.5 * np.arange(36), forecast.latitude.attrs),
        longitude=("longitude", 0.5 * np.arange(36), forecast.longitude.attrs),
    )
    grown.to_netcdf(path)


def test_what_is_public_is_what_it_says():
    import gfs_sr

    for name in gfs_sr.__all__:
        assert getattr(gfs_sr, name) is not None
    assert gfs_sr.Request(members=2, times=gfs_sr.OutputTimes.parse("15min")).members == 2


def test_a_model_that_loses_to_interpolation_says_so_once(source, tmp_path):
    loss = Skill(data="era5", variable="sp", skill=-0.05, skill_sharpened=-0.1, best_baseline="bicubic/linear")
    artifact = make_repeat_artifact(tmp_path / "worse", skill=(loss,))
    command = [sys.executable, "-m", "gfs_sr.cli", "upscale", source, "-o", tmp_path / "fine.nc", "--model", artifact,
               "--backend", "onnxruntime"]  # fmt: skip
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SUBPROCESS_TIMEOUT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("WORSE than bicubic/linear interpolation for sp") == 1


def upscaled(
    source: Path, target: Path, artifact: Path, *options: str, most_bytes: int = UNLIMITED
) -> subprocess.CompletedProcess[str]:
    """The command to its end, in a process that may write no file longer than `most_bytes`."""
    where = ("upscale", source, "-o", target, "--model", artifact, "--backend", "onnxruntime")
    return command("gfs_sr.cli", *where, *options, most_bytes=most_bytes)


def start_upscale(source: Path, target: Path, artifact: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "gfs_sr.cli",
        "upscale",
        source,
        "-o",
        target,
        "--model",
        artifact,
        "--threads",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for_partial(process: subprocess.Popen[str], target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    deadline = time.monotonic() + SUBPROCESS_TIMEOUT
    while not partial.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # some blocks are on their way


def modules_after(code: str) -> tuple[set[str], float]:
    """Modules loaded in a fresh interpreter after `code`, and the processor seconds it took."""
    # not the wall clock: other processes on the machine are no fault of ours
    program = f"import sys, time; start = time.process_time()\n{code}\nprint(time.process_time() - start, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, *modules = done.stdout.split()
    return set(modules), float(seconds)


HEAVY = {"torch", "lightning", "xarray", "netCDF4", "zarr", "cfgrib", "eccodes", "pandas", "matplotlib", "scipy"}


def test_importing_the_package_imports_nothing_else():
    modules, seconds = modules_after("import gfs_sr")
    assert not modules & (HEAVY | {"numpy", "pydantic", "onnxruntime"})
    assert seconds < 0.2


def test_open_needs_no_torch_and_no_xarray_and_takes_under_a_second(node_artifact):
    code = f"from gfs_sr import Upscaler\nUpscaler.open({str(node_artifact)!r})"
    best = np.inf
    for _ in range(3):  # the first run may read from a cold disk, and the machine is shared
        modules, seconds = modules_after(code)
        assert not modules & HEAVY
        best = min(best, seconds)
    assert best < 1.0


def test_help_loads_nothing_heavy():
    modules, _ = modules_after(
        "import gfs_sr.cli, contextlib, io\n"
        "sys.argv = ['gfs-sr', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    gfs_sr.cli.main()"
    )
    assert not modules & (HEAVY | {"numpy", "onnxruntime"})


@pytest.mark.parametrize("command", ["upscale", "inspect", "verify", "models", "coarsen", "evaluate", "demo"])
def test_every_command_explains_itself(gfs_sr, command):
    code, out, _ = gfs_sr(command, "--help")
    assert code == 0
    assert "Options" in out


def test_training_without_its_packages_says_what_to_install(gfs_sr, monkeypatch):
    monkeypatch.setitem(sys.modules, "gfs_sr.training.main", None)
    monkeypatch.setitem(sys.modules, "lightning", None)
    code, _, err = gfs_sr("train", "-c", "nowhere.yaml")
    assert code in {1, 5}
    assert code == 1 or "pip install 'gfs-sr[train]'" in err
