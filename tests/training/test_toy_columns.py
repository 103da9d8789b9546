"""Columns learn on a made-up atmosphere: detail, stability, members, under a shift of climate, and after a stop."""

import csv
import math

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from crossvalidation import columns as scoring
from export.publication import publish
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.conditions import Conditions
from gfs_sr.runtime.artifact import MEAN, MODEL
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.training.diffusion import Diffusing
from gfs_sr.training.main import main, parse, run
from tests.training.runs import COMMON, arguments
from tests.training.test_resume import assert_same_run
from tests.training.toy_columns import MEMBERS, TEXT, columns, packed

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning",
    "ignore:.*:UserWarning:lightning",
    "ignore:.*:FutureWarning:lightning",
    "ignore:.*:DeprecationWarning",
)
STEPS = 120
EITHER = ["geodiff", pytest.param("geodiff_members", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("toy"))


def given(folder, data, text, steps, **more):
    more = {"data.validation_steps": "1"} | more
    return arguments(folder, text.replace("PACKED", str(data)), steps=steps, epochs=1, **more)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, data):
    """A checkpoint that has learned the toy atmosphere."""
    return main(given(tmp_path_factory.mktemp("learned"), data, TEXT, STEPS))


def scored(model, *sources, members=8):
    """Lines by (source, method), of all levels together."""
    lines = scoring.compare({each.source: [each] for each in sources}, {"model": model}, members)
    return {(line.source, line.method): line for line in lines if line.variable == scoring.ALL}


def test_s002_17_a_trained_toy_beats_bicubic_by_a_fifth_and_keeps_columns_stable(learned):
    # in air that is 15 K warmer some true columns overturn
    fields = columns("held-out", 3, 2), columns("warm", 3, 3, 15.0)
    found = scored(load_checkpoint(learned).model(), *fields)
    assert found["held-out", "model"].ratio <= 0.8
    assert found["warm", "model"].unstable_truth > 0
    for source in ("held-out", "warm"):
        line = found[source, "model"]
        assert line.unstable <= line.unstable_truth + 0.01


def test_without_the_prior_a_column_learns_too(tmp_path, data):
    """What an ablation compares: a network that lacks the prior, not one that cannot see what it refines."""
    path = main(given(tmp_path, data, TEXT, STEPS // 2, **{"model.network.prior": "false"}))
    assert scored(load_checkpoint(path).model(), columns("held-out", 3, 2))["held-out", "model"].ratio <= 0.9


@pytest.fixture(scope="module")
def drawing(tmp_path_factory, data, learned):
    """A checkpoint that draws members around it."""
    return main(given(tmp_path_factory.mktemp("drawing"), data, MEMBERS.replace("LEARNED", str(learned)), STEPS // 2))


def test_s002_10_members_spread_and_their_mean_is_nearer_to_the_truth_than_each(drawing):
    model = load_checkpoint(drawing).model()
    assert model.denoising.guided
    held_out = columns("held-out", 2, 2)
    scorer = scoring.Scorer(model.conditions.mean)
    part = next(scorer.samples(held_out))
    refine = scoring.Refined(model, 6)
    with torch.no_grad():
        members, again = refine(part), refine(part)
    assert torch.equal(members, again)  # their seeds are the same
    assert float(members.std(dim=0).mean()) > 0
    errors = (members - part["fine"]).square().mean(dim=(1, 2, 3, 4, 5))
    assert float((members.mean(dim=0) - part["fine"]).square().mean()) < float(errors.min())
    # members that say nothing of the truth would score worse than the field that they lie around
    found = scored(model, held_out, members=6)["held-out", "model"]
    assert found.crps < found.mae


def test_s002_14_training_leaves_the_conditions_out_of_its_share_of_the_samples():
    network = {"family": "geodiff_members", "width": 4, "multipliers": [1], "attention_heads": 1, "head_width": 4}
    field = torch.ones(400, 1, 1, 2, 2)
    made = Conditions(field, field, torch.rand(400, 1, 3, 2, 2) + 1)
    for share in (0.0, 0.2):
        dropped = Diffusing({**network, "drop_conditions": share})._dropped(made, torch.Generator().manual_seed(0))
        left_out = ~dropped.fields.flatten(1).any(dim=1)
        # 400 draws at a chance of 0.2: 80 and three standard deviations of 8
        assert (56 <= int(left_out.sum()) <= 104) if share else not left_out.any()
        assert torch.equal(dropped.fields[~left_out], made.fields[~left_out])
        assert torch.equal(dropped.mean, made.mean)


def test_s002_16_a_shift_of_climate_is_a_table_with_and_without_the_terms_of_physics(tmp_path, data, capsys):
    """Learned from cold air, asked of warm air, whose columns hang on the ground less."""
    config = tmp_path / "toy.yaml"
    config.write_text(TEXT.replace("PACKED", str(data)) + COMMON.replace("log_every", "max_epochs: -1, log_every"))
    output = tmp_path / "shift.csv"
    known = ["full", "without physics loss"]
    asked = ["-c", str(config), "--sources", "held-out", "warm", "--steps", "40", "--variants", *known,
             "--scratch", str(tmp_path / "runs"), "-o", str(output)]  # fmt: skip
    assert scoring.main(asked) == 0
    shown = capsys.readouterr().out
    assert f"| source | level | bilinear | bicubic | sharpened | {' | '.join(known)} |" in shown
    assert output.with_suffix(".md").read_text() == shown
    with output.open() as file:
        rows = [row for row in csv.DictReader(file) if row["variable"] == scoring.ALL]
    errors = {(row["source"], row["method"]): float(row["rmse"]) for row in rows}
    for method in known:
        assert errors["held-out", method] < errors["warm", method] < errors["warm", "bicubic"]


def test_s002_12_validation_checkpoint_and_export_hold_the_average(tmp_path, data):
    class Record(Callback):
        def __init__(self):
            self.weights, self.validated = [], None

        def on_train_start(self, trainer, pl_module):
            self.weights.append(self.of(pl_module))

        def on_train_batch_end(self, trainer, pl_module, *_):
            self.weights.append(self.of(pl_module))

        def on_validation_batch_end(self, trainer, pl_module, *_):
            self.validated = self.of(pl_module)

        def of(self, module):
            return {name: each.detach().clone().double() for name, each in module.network.state_dict().items()}

    options = {"ema.decay": "0.5", "ema.every": "2", "ema.copy_until": "3"}
    command = parse(given(tmp_path, data, TEXT, 8, **options))
    record = Record()
    command.trainer.callbacks.insert(0, record)
    path = run(command)
    expected = record.weights[3]  # copied so far
    for step in (4, 6, 8):
        expected = {name: (each + record.weights[step][name]) / 2 for name, each in expected.items()}
    exported = load_file(publish(load_checkpoint(path), tmp_path / "artifact").artifact.weights)
    for state in (record.validated, load_checkpoint(path).state_dict, exported):
        for name, each in expected.items():
            torch.testing.assert_close(state[name].double(), each, rtol=1e-5, atol=1e-7)
    assert any(float((record.weights[8][name] - each).abs().max()) > 1e-5 for name, each in expected.items())


@pytest.mark.parametrize("family", EITHER)
def test_s002_13_a_run_that_stops_at_step_k_and_goes_on_is_the_uninterrupted_one(tmp_path, data, learned, family):
    text = TEXT.replace("stem: 3,", "stem: 3, focus: 0.4,") if family == "geodiff" else MEMBERS
    text = text.replace("LEARNED", str(learned)).replace("schedule: warmup-cosine, warmup_steps: 5", "min_lr: 0.0")
    steady = {"model.optimizer.schedule": "constant", "trainer.log_every_n_steps": "1", "trainer.max_epochs": "-1"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, length, resumed in ((whole, "6", "null"), (parts, "2", "null"), (parts, "6", "last")):
        folder.mkdir(exist_ok=True)
        main(given(folder, data, text, 4, **steady, **{"trainer.max_steps": length, "ckpt_path": resumed}))
    assert_same_run(parts / "run", whole / "run")


@pytest.mark.parametrize("depth", ["level", "time"])
@pytest.mark.parametrize("family", EITHER)
def test_s002_20_either_depth_trains_and_exports(tmp_path, data, learned, depth, family):
    series = {"streams: {frames: {kind: space,": "streams: {frames: {kind: space_time, intervals: 2,"}
    text = TEXT if depth == "level" else TEXT.replace(*next(iter(series.items())))
    text = text.replace("stem: 3,", f"stem: 3, depth: {depth},")
    path = main(given(tmp_path, data, text, 3))
    if family == "geodiff_members":
        (tmp_path / "more").mkdir()
        text = MEMBERS.replace("LEARNED", str(path))
        text = text if depth == "level" else text.replace(*next(iter(series.items())))
        path = main(given(tmp_path / "more", data, text, 3))
    checkpoint = load_checkpoint(path)
    assert checkpoint.contract.frames_apart == (depth == "level")
    weights = checkpoint.model().volume.network.zero
    assert all(each.weight.any() for each in weights)  # it has learned
    artifact = publish(checkpoint, tmp_path / "artifact").artifact  # compares the graphs with the network
    with OnnxRuntimeBackend(artifact, role=MEAN if family == "geodiff_members" else MODEL) as engine:
        assert engine.contract.outputs == ("t@1000", "t@850", "t@700")
    assert all(math.isfinite(each.max_abs) for each in artifact.manifest.parity)
    assert np.isfinite([each.skill for each in checkpoint.skill]).all()
