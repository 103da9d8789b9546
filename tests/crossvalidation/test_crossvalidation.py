"""Leave-one-group-out validation with a tiny recipe on bundled data, and the truths it scores on."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from crossvalidation.__main__ import cross_validate, main
from crossvalidation.lines import FoldLine, read_lines, summary, write_lines
from crossvalidation.recipe import Recipe, train_without
from crossvalidation.scores import is_scored, score_source
from crossvalidation.truth import truth_of, write_statics
from gfs_sr.data.grid import Registration
from gfs_sr.data.sources import open_statics
from gfs_sr.data.terrain import terrain_at
from gfs_sr.errors import GfsSrError, UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.training.datamodule import VALIDATION_KEY, Steps
from gfs_sr.training.field_set import FieldSet, write_packed
from gfs_sr.training.parcel import Batch

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)

CONFIG = """
closed_form: true
fail_fast: {patience: 0}
checkpoints: {every_steps: 2}
threads: 1
output: runs/never
model:
  name: tiny
  network: {family: fused, width: 6, blocks: 1, registration: REGISTRATION}
  loss: {weights: {huber: 1.0}, huber_delta: 1.5, relative: true}
data:
  packed: PACKED
  validation: [here]
  steps_per_epoch: 4
  validation_steps: 1
  streams: {frames: {kind: space, batch: 2, patch: 4, smoothed: {2.0: 0.5}}}
  validation_stream: {kind: space_time, batch: 1, patch: 4}
trainer: {max_steps: 8, max_epochs: -1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false,
  log_every_n_steps: 4}
"""


def waves(name: str, fold: str, hours: int = 1, phase: float = 0.0, **more: object) -> FieldSet:
    rows, columns, frames = 40, 50, 13
    time, y, x = np.meshgrid(np.arange(frames), np.arange(rows), np.arange(columns), indexing="ij")
    values = 280 + 8 * np.sin(x / 4 + phase + time / 9) * np.cos(y / 5) + 2 * np.sin(x * y / 90 + phase)
    given: dict[str, object] = {
        "lat": 55 - 0.25 * np.arange(rows), "lon": 5 + 0.25 * np.arange(columns),
        "times": np.datetime64("2020-01-01T00", "ns") + np.timedelta64(3600 * 10**9 * hours, "ns") * np.arange(frames),
        "variables": ("t2m", "t@850"), "provenance": {"fold": fold, "licence": "made up"},
    }  # fmt: skip
    given["values"] = np.stack([values, values - 10]).astype(np.float32)
    return FieldSet(name=f"{name}-0", source=name, **(given | more))  # type: ignore[arg-type]


class PowerCut(Exception):
    """What nobody handles."""


def pack(folder: Path) -> Path:
    path = folder / "packed.npz"
    write_packed(
        [waves("here", "west"), waves("there", "east", phase=2.0), waves("point", "east", series=True, phase=1.0)], path
    )
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack(tmp_path)


def recipe_of(packed: Path, registration: str = "node") -> Recipe:
    config = packed.with_name(f"{registration}.yaml")
    config.write_text(CONFIG.replace("PACKED", str(packed)).replace("REGISTRATION", registration))
    return Recipe.read([config], packed.parent / "scratch")


@dataclass(frozen=True)
class Done:
    """A whole cross-validation."""

    recipe: Recipe
    output: Path
    scratch: Path
    lines: list[FoldLine]

    def folder(self, fold: str) -> Path:
        return self.scratch / f"tiny-{self.recipe.digest}" / fold


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    packed = pack(tmp_path_factory.mktemp("whole"))
    recipe, output, scratch = recipe_of(packed), packed.with_name("folds.csv"), packed.parent / "scratch"
    return Done(recipe, output, scratch, cross_validate(recipe, output, scratch, [6, 3]))


def test_every_fold_is_trained_without_and_scored_at_every_factor(done):
    assert done.recipe.folds() == {"west": ("here",), "east": ("there", "point")}
    assert [(line.fold, line.source, line.task, line.time_factor) for line in done.lines] == [
        ("west", "here", "space", 6), ("west", "here", "joint", 6), ("west", "here", "joint", 3),
        ("east", "there", "space", 6), ("east", "there", "joint", 6), ("east", "there", "joint", 3),
    ]  # fmt: skip
    assert {line.variable for line in done.lines} == {"t2m"}
    assert all(line.rmse_best <= line.rmse_best_plain for line in done.lines)
    assert read_lines(done.output) == done.lines
    trained_on = {
        fold: load_checkpoint(done.folder(fold) / "run" / "tiny.ckpt").provenance["trained on"]
        for fold in done.recipe.folds()
    }
    assert trained_on == {"west": "point, there", "east": "here"}
    # the fold that the recipe holds out is the recipe itself
    itself = load_checkpoint(done.folder("west") / "run" / "tiny.ckpt")
    assert itself.provenance["validated on"] == "here"
    assert [line.data for line in itself.skill] == ["here"]


def test_cell_models_are_scored_too(packed):
    lines = cross_validate(recipe_of(packed, "cell"), packed.with_name("f.csv"), packed.parent / "s", [6], ["west"])
    assert [(line.registration, line.task) for line in lines] == [("cell", "space"), ("cell", "joint")]


def test_what_is_done_is_not_repeated(done, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr("gfs_sr.training.main.run", never)
    kept = [line for line in done.lines if line.fold == "west"]
    output = done.output.with_name("again.csv")
    write_lines(kept, output)  # killed between training and scoring: the artifact is there, the lines are not
    assert cross_validate(done.recipe, output, done.scratch, [6, 3]) == done.lines
    monkeypatch.setattr("crossvalidation.__main__.score_source", never)
    assert cross_validate(done.recipe, output, done.scratch, [6, 3]) == done.lines


def test_a_killed_training_goes_on_to_the_weights_of_a_whole_one(done, monkeypatch):
    folder = done.scratch / "cut"
    draw = Steps.__getitem__
    drawn = 0

    def counted(steps: Steps, key: tuple[int, int]) -> Batch:
        nonlocal drawn
        drawn += key[0] < VALIDATION_KEY
        if drawn == 7:
            raise PowerCut
        return draw(steps, key)

    monkeypatch.setattr(Steps, "__getitem__", counted)
    with pytest.raises(PowerCut):
        train_without(done.recipe, ["here"], folder, [6])
    assert train_without(done.recipe, ["here"], folder, [6]).steps == 8
    assert drawn < 7 + 8  # what came before the last checkpoint is not repeated
    again = load_file(folder / "artifact-6" / "weights.safetensors")
    for name, weights in load_file(done.folder("west") / "artifact-6" / "weights.safetensors").items():
        np.testing.assert_array_equal(again[name], weights, err_msg=name)


def test_lines_of_another_recipe_are_not_mixed_in(packed):
    recipe = recipe_of(packed)
    output = packed.with_name("folds.csv")
    write_lines([_line(recipe="of another day")], output)
    with pytest.raises(UsageError, match="another recipe"):
        cross_validate(recipe, output, packed.parent / "scratch", [6])


def test_the_command_prints_the_summary_and_leaves_it_beside_the_lines(packed, capsys):
    recipe = recipe_of(packed)
    output = packed.with_name("folds.csv")
    write_lines([_line(recipe=recipe.digest, source="here"), _line(recipe=recipe.digest, source="there")], output)
    assert main(["-c", str(recipe.configs[0]), "-o", str(output), "--scratch", str(packed.parent / "scratch")]) == 0
    text = output.with_suffix(".md").read_text()
    assert capsys.readouterr().out == text
    assert "| node | space | 6 | 2 | +25.0 % | +25.0 % | 2 | +25.0 % |" in text


def test_the_command_ends_with_an_error_of_ours(packed, capsys):
    recipe = recipe_of(packed)
    command = ["-c", str(recipe.configs[0]), "-o", str(packed.with_name("f.csv")), "--only", "north"]
    assert main([*command, "--scratch", str(packed.parent / "scratch")]) == UsageError.exit_code
    assert "no fold 'north'" in capsys.readouterr().err


def test_a_recipe_without_a_packed_set_is_refused(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: {network: {family: fused}}\n")
    with pytest.raises(UsageError, match="packed"):
        Recipe.read([config], tmp_path / "scratch")


def test_the_summary_names_every_line_that_is_not_above_zero():
    lines = [
        _line(skill_percent=10.0),
        _line(skill_percent=0.0, variable="msl"),
        _line(skill_percent=-4.0, variable="u10"),
    ]
    text = summary(lines)
    assert "| node | space | 6 | 3 | +2.0 % | +0.0 % | 1 | -4.0 % |" in text
    assert "here msl +0.0, here u10 -4.0" in text


def test_a_damaged_table_is_an_error_of_ours(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("registration,fold\nnode,west\n")
    with pytest.raises(GfsSrError, match="holds no cross-validation"):
        read_lines(path)


def test_projected_fields_are_given_their_own_terrain():
    lat, lon = np.meshgrid(47 + 0.05 * np.arange(40), 8 + 0.07 * np.arange(50), indexing="ij")
    fields = waves("alps", "south", lat=lat + 0.01 * lon, lon=lon)
    truth = truth_of(fields, ("t2m",))
    assert truth is not None
    assert not truth.on_earth
    assert truth.forecast.variables == ("t2m",)
    np.testing.assert_array_equal(truth.forecast.load()[:, 0], fields.values[0])
    weights = truth.forecast.grid.weights()
    assert np.ptp(weights) < 1e-3  # all cells of a projected grid weigh alike


def test_statics_of_a_stand_in_grid_are_read_as_they_were_written(tmp_path):
    lat, lon = np.meshgrid(47 + 0.05 * np.arange(40), 8 + 0.07 * np.arange(50), indexing="ij")
    fields = waves("alps", "south", lat=lat, lon=lon)
    truth = truth_of(fields, ("t2m",))
    assert truth is not None
    write_statics(fields, truth.forecast.grid, 6, tmp_path / "statics.nc")
    found, grid = open_statics(tmp_path / "statics.nc", ("orog", "lsm"))
    assert grid.shape == (46, 56)
    np.testing.assert_allclose(found["orog"][:40, :50], terrain_at(lat, lon)["orog"], atol=0.01)


def test_members_and_places_unknown_are_scored_frame_by_frame():
    same = np.repeat(np.datetime64("2020-01-01", "ns"), 13)
    (space,) = score_source([waves("members", "a", times=same, lat=None, lon=None)], [_bundled("fused-node")])
    assert (space.task, space.variable) == ("space", "t2m")
    assert 0 < space.rmse < space.rmse_best_plain


def test_three_hourly_fields_have_no_hourly_truth():
    tasks = [score.task for score in score_source([waves("slow", "a", hours=3)], [_bundled("fused-node")])]
    assert tasks == ["space"]


def test_series_and_small_fields_and_other_variables_are_not_scored():
    contract = Artifact.open("fused-node").contract
    assert contract.registration is Registration.NODE
    assert is_scored(waves("a", "a"), contract)
    assert not is_scored(waves("a", "a", series=True), contract)
    assert not is_scored(waves("a", "a", variables=("t@500", "t@850")), contract)
    small = waves("a", "a", values=np.zeros((2, 13, 12, 50), np.float32), lat=55 - 0.25 * np.arange(12))
    assert not is_scored(small, contract)


def _bundled(name: str) -> Path:
    return Path(str(files("gfs_sr.runtime") / "bundled" / name))


def _line(**changed: object) -> FoldLine:
    usual: dict[str, object] = {
        "registration": "node", "fold": "west", "source": "here", "variable": "t2m", "task": "space", "time_factor": 6,
        "rmse": 0.3, "rmse_best": 0.4, "best": "sharpened bicubic", "rmse_best_plain": 0.5, "skill_percent": 25.0,
        "skill_plain_percent": 40.0, "steps": 8, "recipe": "0", "model": "1",
    }  # fmt: skip
    return FoldLine(**(usual | changed))  # type: ignore[arg-type]
