"""Models that draw members: one step and the whole sampled field are the network's, in graphs that engines take."""

import numpy as np
import onnx
import pytest
import torch

from export.operators import tensorrt_objections
from export.publication import publish
from export.sample import sample_batches
from gfs_sr.errors import UsageError
from gfs_sr.models.edm import DenoiserGraph, MeanGraph
from gfs_sr.runtime.artifact import DENOISER, MEAN, Artifact
from gfs_sr.runtime.backends.onnxruntime import OnnxRuntimeBackend
from gfs_sr.runtime.backends.torch import TorchBackend
from gfs_sr.runtime.card import CARD
from gfs_sr.runtime.inspect import inspect_artifact
from gfs_sr.runtime.members import draw_field
from gfs_sr.sampling import SamplerConfig, SamplingConfig, ScheduleConfig
from tests.export.checkpoints import make_checkpoint

SMALL = {
    "family": "edm", "variables": ["t2m", "msl"], "registration": "cell", "width": 4, "multipliers": [1], "blocks": 1,
    "dropout": 0.0, "normalization": "cell", "attention": "none", "scale_factor": 2, "factors": [],
    "schedule": {"n": 4, "sigma_min": 0.05, "sigma_max": 10.0},
}  # fmt: skip
MODELS = {
    "plain": SMALL,
    "shared": {**SMALL, "shared": True},
    "vp": {**SMALL, "family": "vp", "schedule": {"type": "vp", "n": 4}},
    "global": {**SMALL, "normalization": "group", "attention": "global", "attention_heads": 2, "multipliers": [1, 2],
               "factors": [2]},
}  # fmt: skip
# the seed's: 20 levels of Karras by the midpoint rule, with churn
SEED = SamplingConfig(sampler=SamplerConfig(), schedule=ScheduleConfig(n=20))


@pytest.fixture(scope="module", params=MODELS, ids=str)
def case(request, tmp_path_factory):
    checkpoint = make_checkpoint(MODELS[request.param], spread=0.1)
    return checkpoint, publish(checkpoint, tmp_path_factory.mktemp("members") / request.param)


def test_s004_24_one_step_of_the_engine_is_the_networks(case):
    checkpoint, exported = case
    artifact: Artifact = exported.artifact
    model = checkpoint.model().eval()
    batch = sample_batches(checkpoint.sample, artifact.contract)[0]
    given = {name: torch.from_numpy(each) for name, each in batch.inputs.items()}
    with torch.no_grad():
        expected = MeanGraph(model)(**given)
    with OnnxRuntimeBackend(artifact, role=MEAN) as mean, OnnxRuntimeBackend(artifact, role=DENOISER) as denoiser:
        made = {name: each.copy() for name, each in mean.infer(batch.inputs).items()}
        for name, tensor in zip(("fine", "unit", "condition"), expected, strict=True):
            np.testing.assert_allclose(made[name], tensor.numpy(), rtol=0, atol=2e-5)
        graph = DenoiserGraph(model)
        sides = graph.reach
        pads = ((0, 0), (0, 0), (0, 0), (2 * sides.north, 2 * sides.south), (2 * sides.west, 2 * sides.east))
        rng = np.random.default_rng(3)
        inputs = {
            "noisy": np.pad(rng.standard_normal(made["fine"].shape, np.float32), pads, mode="edge"),
            "condition": np.pad(made["condition"], pads, mode="edge"),
            "sigma": np.full(made["fine"].shape[0], 0.7, np.float32),
        } | {name: each for name, each in batch.inputs.items() if name == "variable"}
        found = denoiser.infer(inputs)["fine"]
    with torch.no_grad():
        step = graph(**{name: torch.from_numpy(each) for name, each in inputs.items()}).numpy()
    assert np.abs(step).mean() > 1e-3
    np.testing.assert_allclose(found, step, rtol=0, atol=2e-5)


def test_s004_24_the_whole_run_of_39_evaluations_matches(case):
    checkpoint, exported = case
    artifact, draws, asked = exported.artifact, {}, []
    batch = sample_batches(checkpoint.sample, artifact.contract)[2]

    def noise(number, shape):
        return draws.setdefault(number, np.random.default_rng(number).standard_normal(shape, np.float32))

    def field(kind):
        with kind(artifact, role=MEAN) as mean, kind(artifact, role=DENOISER) as denoiser:
            infer = denoiser.infer
            denoiser.infer = lambda given: (asked.append(kind), infer(given))[1]
            return draw_field(mean, denoiser, batch.inputs, noise, SEED)

    ours, theirs = field(OnnxRuntimeBackend), field(TorchBackend)
    assert SEED.evaluations == 39
    assert [asked.count(kind) for kind in (OnnxRuntimeBackend, TorchBackend)] == [39, 39]
    assert len(draws) == 18  # the start, and churn at 17 of 20 levels
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, np.abs(theirs).max()))


def test_s004_24_tensorrt_objects_to_neither_graph(case):
    _, exported = case
    for role in (MEAN, DENOISER):
        assert not tensorrt_objections(onnx.load(exported.artifact.path / "graphs" / f"{role}.onnx"))


def test_the_manifest_states_the_parity_of_the_sampled_field(case):
    _, exported = case
    lines = exported.artifact.manifest.parity
    assert {line.variable for line in lines} == {"t2m", "msl"}
    assert all(0 < line.max_abs <= line.tolerance for line in lines)


def test_inspection_tells_that_members_are_drawn_and_how(case):
    _, exported = case
    told = inspect_artifact(exported.artifact.path)
    denoising = exported.artifact.contract.denoising
    assert told["stochastic"] is True
    assert told["drawing"]["evaluations"] == denoising.sampling.evaluations
    assert told["drawing"]["schedule"]["n"] == 4
    sees_all = denoising.halo == "global"
    assert (told["drawing"]["step_field"] == "global") == sees_all


def test_the_card_tells_how_members_are_drawn_and_what_a_step_sees(case):
    _, exported = case
    card, denoising = exported.artifact.path / CARD, exported.artifact.contract.denoising
    text = card.read_text()
    assert "--members 16 --seed 1" in text
    sampling = denoising.sampling
    assert f"`{sampling.sampler.integrator}`: {sampling.evaluations} evaluations" in text
    assert "Untrained" not in text  # noise is not the interpolation
    (line,) = [each for each in text.splitlines() if each.startswith("* Reach of each step")]
    assert line.endswith("frames are drawn one by one.")
    assert ("the whole field" in line) == (denoising.halo == "global")


@pytest.mark.parametrize("is_shared", [True, False], ids=["any variable", "all variables"])
def test_members_whose_frames_are_drawn_together_are_proved_on_smaller_fields_of_every_variable(tmp_path, is_shared):
    variables = ["t2m", "msl", "u10", "v10", "wspd"]
    checkpoint = make_checkpoint({**SMALL, "shared": is_shared, "temporal": True, "variables": variables}, spread=0.1)
    sides = checkpoint.contract.denoising.halo
    assert sides.before > 0
    batches = sample_batches(checkpoint.sample, checkpoint.contract)
    assert {name for batch in batches for name in batch.variables} == set(variables)
    shapes = [batch.inputs["coarse"].shape for batch in batches]
    assert {shape[0] for shape in shapes} == {1, 2}
    assert len({shape[1:2] + shape[3:] for shape in shapes}) == 3
    halo = checkpoint.contract.halo
    rows = [shape[3] - halo.north - halo.south for shape in shapes]
    assert max(rows) == (checkpoint.sample.values.shape[2] + 1) // 2
    lines = publish(checkpoint, tmp_path / "model").artifact.manifest.parity
    assert {line.variable for line in lines} == set(variables)
    assert all(0 < line.max_abs <= line.tolerance for line in lines)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_members_are_exported_in_fp32_alone(tmp_path, precision):
    with pytest.raises(UsageError, match="fp32"):
        publish(make_checkpoint(SMALL), tmp_path / "model", precision=precision)
    assert not list(tmp_path.iterdir())
