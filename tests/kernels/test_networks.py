"""Networks on the operators are the networks they were made from, on the references and on the kernels themselves."""

import pytest
import torch

from gfs_sr import models
from gfs_sr.data.grid import Registration
from gfs_sr.kernels import operators
from gfs_sr.models.on_kernels import on_kernels
from tests.kernels.conftest import HAS_TRITON
from tests.models.networks import coarse_input, shake
from tests.models.test_fused import all_inputs, small

FACTORIZED = {"family": "factorized", "variables": ["t2m", "u10"], "width": 16, "blocks": 1, "time_factor": 2,
              "scale_factor": 3}  # fmt: skip


@pytest.fixture(params=["references", pytest.param("kernels", marks=pytest.mark.skipif(
    not HAS_TRITON, reason="needs triton: pip install triton"))])  # fmt: skip
def operated_by(request, monkeypatch):
    """The operators as this machine takes them, or the kernels behind them, interpreted if need be."""
    if request.param == "references":
        return
    from gfs_sr.kernels import between_frames, conv_shuffle, residual_block, temporal_stack

    launches = {
        "temporal_stack": temporal_stack.temporal_stack,
        "between_frames": between_frames.between_frames,
        "conv_shuffle": conv_shuffle.conv_shuffle,
        "conv_shuffle_fine": conv_shuffle.conv_shuffle_fine,
        "residual_block": residual_block.residual_block,
    }
    for name, kernel in launches.items():

        def launch(*arguments, name=name, kernel=kernel):
            return operators._launched(kernel, name, arguments)

        monkeypatch.setattr(operators, name, launch)


def given_by(network, inputs, device):
    """What `network` gives on `device`, on the CPU."""
    placed = {name: each.to(device) for name, each in inputs.items()}
    return network.to(device)(**placed).cpu()


def factorized(**others):
    model = models.build(FACTORIZED | others).eval()
    inputs = {"coarse": coarse_input(model.margin, channels=2, rows=2, columns=3, frames=1)}
    generator = torch.Generator().manual_seed(2)
    for grid, planes in (("coarse", 1), ("fine", model.facts.scale_factor**2)):
        names = getattr(model, f"statics_{grid}")
        if names:
            size = (1, 1, planes * len(names), *inputs["coarse"].shape[3:])
            inputs[f"static_{grid}"] = torch.randn(size, generator=generator)
    return shake(model), inputs


@torch.inference_mode()
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"registration": "cell", "sharpening": 0.1, "time": "catmull_rom"},
        {"baseline_residual": False},
        {"statics_coarse": ["orog"], "statics_fine": ["orog", "lsm"]},
    ],
    ids=lambda others: "-".join(others) or "plain",
)
def test_factorized_on_the_kernels_is_factorized(operated_by, device, others):
    model, inputs = factorized(**others)
    given = given_by(on_kernels(model), inputs, device)
    torch.testing.assert_close(given, model(**inputs), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("registration", "r"), [(Registration.NODE, 3), (Registration.CELL, 1)])
def test_fused_on_the_kernels_is_fused(operated_by, device, registration, r):
    model = shake(small(scale_factor=2, time_factor=r, registration=registration, blocks=1)).eval()
    inputs = all_inputs(model, frames=1, rows=2, columns=1)
    truth = model(**inputs)
    assert truth.abs().max() > 5  # the residual takes part
    torch.testing.assert_close(given_by(on_kernels(model), inputs, device), truth, rtol=0, atol=3e-5)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_in_half_precision_only_the_residual_is_rounded(operated_by, device, dtype):
    model, inputs = factorized()
    truth = model(**inputs)
    residual = truth - model.base.within(inputs["coarse"], model.margin)
    given = given_by(on_kernels(model, dtype), inputs, device)
    assert given.dtype == torch.float32
    # 8 and 11 significant bits through five layers
    assert (given - truth).abs().max() < (6e-2 if dtype == torch.bfloat16 else 8e-3) * residual.abs().max()


@torch.inference_mode()
def test_fused_in_bf16_stays_near(device):
    model = shake(small(scale_factor=2, time_factor=3)).eval()
    inputs = all_inputs(model, frames=1, rows=3, columns=4)
    truth = model(**inputs)
    given = given_by(on_kernels(model, torch.bfloat16), inputs, device)
    assert given.dtype == torch.float32
    assert (given - truth).abs().max() < 6e-2 * (truth - model.baseline(inputs["coarse"])).abs().max()


@pytest.mark.parametrize("config", [
    {"family": "interpolation"},
    FACTORIZED | {"padding": "zero"},
    FACTORIZED | {"width": 128},
    FACTORIZED | {"time_factor": 48},
], ids=str)  # fmt: skip
def test_what_does_not_fit_the_kernels_is_left_alone(config):
    assert on_kernels(models.build(config)) is None


def test_the_network_itself_stays_as_it_was():
    model, _ = factorized()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    on_kernels(model, torch.bfloat16)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])
