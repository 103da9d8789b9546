from pathlib import Path

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.contract import Skill
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import CheckpointInvalid, FormatTooNew, MissingFile
from gfs_sr.models.checkpoint import KEY, Checkpoint, Sample, load_checkpoint, pack, save_checkpoint


def a_sample(rows: int = 5) -> Sample:
    times = np.datetime64("2024-01-31T06", "ns") + np.arange(3) * np.timedelta64(6, "h")
    return Sample(
        variables=("t2m", "sp"),
        values=np.arange(3 * 2 * rows * 4, dtype=np.float32).reshape(3, 2, rows, 4),
        grid=Grid(np.linspace(50, 46, rows), np.array([358.0, 359.0, 360.0, 361.0])),
        times=TimeAxis(times[0] - np.timedelta64(6, "h"), times),
        source="a test",
        statics={"orog": np.ones((rows, 4), np.float32)},
    )


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    model = models.build({"family": "factorized", "variables": ["t2m", "sp"], "width": 4, "blocks": 1})
    return Checkpoint(
        config=model.config,
        contract=model.make_contract(name="tiny"),
        state_dict=model.state_dict(),
        sample=a_sample(),
        skill=(Skill(data="here", variable="t2m", skill=0.1, skill_sharpened=0.01, best_baseline="bicubic/linear"),),
        provenance={"seed": "1"},
    )


def test_what_is_saved_is_read_back(tmp_path, checkpoint):
    path = tmp_path / "run" / "tiny.ckpt"
    save_checkpoint(checkpoint, path)
    again = load_checkpoint(path)
    assert (again.config, again.contract) == (checkpoint.config, checkpoint.contract)
    assert (again.skill, again.provenance) == (checkpoint.skill, checkpoint.provenance)
    for name, tensor in checkpoint.state_dict.items():
        assert torch.equal(again.state_dict[name], tensor)
    one, other = again.sample, checkpoint.sample
    assert (one.variables, one.source) == (other.variables, other.source)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.grid.lon, other.grid.lon)
    np.testing.assert_array_equal(one.times.valid_times, other.times.valid_times)
    assert one.times.reference_time == other.times.reference_time
    np.testing.assert_array_equal(one.statics["orog"], other.statics["orog"])
    x = torch.randn(1, 15, 2, 11, 11)
    with torch.inference_mode():
        assert torch.equal(again.model()(x), checkpoint.model()(x))
    assert [each.name for each in path.parent.iterdir()] == ["tiny.ckpt"]


def test_a_file_lightning_wrote_is_read_too(tmp_path, checkpoint):
    torch.save({"epoch": 3, "state_dict": {"model.x": torch.zeros(1)}, KEY: pack(checkpoint)}, tmp_path / "last.ckpt")
    assert load_checkpoint(tmp_path / "last.ckpt").contract == checkpoint.contract


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a checkpoint")


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def executes(path: Path) -> None:
    torch.save({KEY: Evil()}, path)


def foreign(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def edit(**changes: object):
    def spoil(path: Path) -> None:
        stored = torch.load(path, weights_only=True)
        torch.save({KEY: stored[KEY] | changes}, path)

    return spoil


def without(key: str):
    def spoil(path: Path) -> None:
        stored = torch.load(path, weights_only=True)
        del stored[KEY][key]
        torch.save(stored, path)

    return spoil


def not_finite(path: Path) -> None:
    stored = torch.load(path, weights_only=True)
    next(iter(stored[KEY]["state_dict"].values())).flatten()[0] = torch.nan
    torch.save(stored, path)


FAULTS = {
    "gone": (Path.unlink, MissingFile),
    "truncated": (truncated, CheckpointInvalid),
    "empty": (empty, CheckpointInvalid),
    "text": (text, CheckpointInvalid),
    "executes": (executes, CheckpointInvalid),
    "another program's": (foreign, CheckpointInvalid),
    "of tomorrow": (edit(format=99), FormatTooNew),
    "weights missing": (edit(state_dict={}), CheckpointInvalid),
    "weights of another": (edit(state_dict={"x": torch.zeros(1)}), CheckpointInvalid),
    "weights are none": (edit(state_dict=3), CheckpointInvalid),
    "configuration of none": (edit(config={"family": "magic"}), CheckpointInvalid),
    "contract broken": (edit(contract="{"), CheckpointInvalid),
    "sample missing": (without("sample"), CheckpointInvalid),
    "not finite": (not_finite, CheckpointInvalid),
}


@pytest.mark.parametrize(("spoil", "error"), FAULTS.values(), ids=FAULTS)
def test_a_spoilt_checkpoint_is_refused(tmp_path, checkpoint, capsys, spoil, error):
    path = tmp_path / "tiny.ckpt"
    save_checkpoint(checkpoint, path)
    spoil(path)
    with pytest.raises(error):
        load_checkpoint(path)
    assert capsys.readouterr().out == ""


def test_a_sample_above_a_mebibyte_is_refused():
    with pytest.raises(ValueError, match="1048576"):
        a_sample(rows=20_000)
