"""Every command that writes, on a disk that takes no more: exit code 7, one error that names the output, no remains."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from tests.disks import UNLIMITED, command, fill, names_below, small_disk
from tests.export.checkpoints import write_checkpoint
from tests.training.runs import FACTORIZED, arguments

SAMPLE = Path(str(files("gfs_sr.demo") / "sample"))
DAY = SAMPLE / "arpege_2m_NW_20180501000000.grib"
COARSEN = ("gfs_sr.cli", "coarsen", DAY, "--crop")
EVALUATE = ("gfs_sr.cli", "evaluate", "--data", DAY, "--variables", "t2m", "--metrics", "RMSE", "--no-terrain")
INTERPOLATION = {"family": "interpolation", "variables": ["t2m", "sp"], "scale_factor": 3, "time_factor": 2}


@pytest.fixture
def build_dataset(tmp_path):
    sources = [{"files": [DAY.name], "variables": ["t2m"]}]
    config = {
        "output": "unused.nc", "folder": str(SAMPLE), "fine": {"sources": sources, "box": [50.95, -2.05, 46.95, 1.95]},
        "coarse": {"sources": sources, "grid": {"scale_factor": 4}}, "first": "2018-05-01", "last": "2018-05-01",
    }  # fmt: skip
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(config))
    return "gfs_sr.cli", "build-dataset", "-c", tmp_path / "build.yaml"


@pytest.fixture
def pack(tmp_path):
    source = {"name": "arpege", "fold": "one", "producer": "Météo-France", "licence": "open", "files": [DAY.name],
              "variables": ["t2m"]}  # fmt: skip
    (tmp_path / "table.yaml").write_text(yaml.safe_dump({"sources": [source]}))
    return "gfs_sr.training.pack", "-c", tmp_path / "table.yaml", "--folder", SAMPLE


@pytest.fixture(params=["onnx", "trt"])
def export(request, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "small.ckpt", INTERPOLATION)
    return f"export.{request.param}", "--ckpt", checkpoint


def contents(folder):
    return {name: (folder / name).read_bytes() for name in names_below(folder) if (folder / name).is_file()}


def stops_with_7(begun, output, *, named=None, most_bytes=4096, left=()):
    """The command, as it begins, into a folder of its own."""
    output.parent.mkdir(exist_ok=True)
    ended = command(*begun, "-o", output, most_bytes=most_bytes)
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.count("could not be written") == 1
    assert f"where: output {named or output}\n" in ended.stderr
    assert "bug" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert names_below(output.parent) == list(left)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_coarsen(tmp_path, suffix):
    stops_with_7(COARSEN, tmp_path / "out" / f"coarse{suffix}", most_bytes=1000)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_build_dataset(build_dataset, tmp_path, suffix):
    stops_with_7(build_dataset, tmp_path / "out" / f"built{suffix}")


def test_evaluate(tmp_path):
    stops_with_7(EVALUATE, tmp_path / "out" / "report")


def test_demo(tmp_path):
    output = tmp_path / "out" / "demo"
    stops_with_7(("gfs_sr.cli", "demo"), output, named=output / "fine.nc")


def test_export(export, tmp_path):
    stops_with_7(export, tmp_path / "out" / "artifact", most_bytes=1000)


def test_pack(pack, tmp_path):
    stops_with_7(pack, tmp_path / "out" / "set.npz")


def test_train_leaves_no_half_checkpoint(tmp_path):
    ended = command("gfs_sr.cli", "train", *arguments(tmp_path, FACTORIZED, steps=2, epochs=1), most_bytes=20_000)
    assert ended.returncode == 7, ended.stderr
    assert ended.stderr.count("could not be written") == 1
    assert f"where: output {tmp_path / 'run' / 'last.ckpt'}\n" in ended.stderr or "factorized.ckpt\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "run").rglob("*.partial"))
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_full_disk_keeps_the_older_coarse_forecast(tmp_path, suffix):
    with small_disk(tmp_path / "disk", 4000) as disk:
        target = disk / f"coarse{suffix}"
        assert command(*COARSEN, "-o", target).returncode == 0
        before = contents(disk)
        fill(disk, 8192)
        stops_with_7(COARSEN, target, left=names_below(disk), most_bytes=UNLIMITED)
        (disk / "filler").unlink()
        assert contents(disk) == before


def test_a_full_disk_leaves_a_reports_folder_as_it_was(tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        (disk / "report").mkdir()
        (disk / "report" / "notes.txt").write_text("mine")
        stops_with_7(EVALUATE, disk / "report", left=["report", "report/notes.txt"], most_bytes=UNLIMITED)


def test_a_disk_without_room_for_a_file_is_full_and_not_forbidden(tmp_path):
    with small_disk(tmp_path / "disk", 4) as disk:
        (disk / "filler").write_bytes(bytes(4096))
        ended = command("gfs_sr.cli", "demo", "-o", disk / "demo", "--json")
        assert ended.returncode == 7
        told = json.loads(ended.stdout)["error"]
        assert told["mend"].startswith("free space on the disk")
        assert names_below(disk) == ["filler"]
