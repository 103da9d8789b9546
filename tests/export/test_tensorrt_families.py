"""The graphs of every family against TensorRT's published table of operators, without TensorRT."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from export.graph import OPSET, write_graph
from export.operators import tensorrt_objections
from export.precision import lower_residual
from gfs_sr import models
from gfs_sr.models.folding import fold
from gfs_sr.models.model import Model
from gfs_sr.runtime.artifact import MODEL
from gfs_sr.runtime.backends.choice import smooth_inputs

TWO: dict[str, Any] = {"variables": ["t2m", "sp"], "scale_factor": 2, "time_factor": 2}
TINY: dict[str, Any] = {"width": 4, "multipliers": [1, 2], "blocks": 1, "dropout": 0.0, "attention_heads": 2}
FINITE: dict[str, Any] = {**TINY, "normalization": "cell", "attention": "none", "scale_factor": 2, "factors": [2]}
MEAN: dict[str, Any] = {"family": "unet", **FINITE, "variables": ["t2m"]}
CASES: dict[str, dict[str, Any]] = {
    "interpolation": {"family": "interpolation"} | TWO,
    "fused": {"family": "fused", "width": 8, "blocks": 1} | TWO,
    "factorized": {"family": "factorized", "width": 8, "blocks": 1} | TWO,
    "dl4ds": {"family": "dl4ds", "variables": ["t2m"]},
    "unet": MEAN,
    "gan": {"family": "gan", **TINY, "variables": ["t2m"], "scale_factor": 2},
    "temdeep": {"family": "temdeep", "variables": ["t2m"], "widths": [4, 8, 8, 8]},
    "temdeep_narrow": {"family": "temdeep_narrow", "variables": ["t2m"], "width": 8},
    "rife": {"family": "rife", "variables": ["t2m"], "width": 8},
    "edm": {"family": "edm", **FINITE, "variables": ["t2m"], "mean": MEAN},
    "geodiff": {"family": "geodiff", "heads": 2, "head_width": 8} | models.COLUMN,
    "geodiff_members": {"family": "geodiff_members", "attention_heads": 2, "head_width": 8} | models.COLUMN,
    "vp": {"family": "vp", **FINITE, "variables": ["t2m"], "mean": MEAN},
}


def graphs(model: Model) -> dict[str, Any]:
    """By role, as they are exported."""
    roles = dict(model.graphs())
    return {role: fold(each) if isinstance(each, Model) and role == MODEL else each for role, each in roles.items()}


@pytest.mark.parametrize("family", CASES)
def test_tensorrt_has_every_operator_of_the_family(family: str, tmp_path: Path) -> None:
    model = models.build(CASES[family]).eval()
    contract = model.make_contract(name="small")
    found = {}
    for role, network in graphs(model).items():
        promise = contract.for_frames() if role == "frame" else contract
        found[role] = tensorrt_objections(write_graph(network, promise, tmp_path / f"{role}.onnx", OPSET, role))
    assert {role: objections for role, objections in found.items() if objections} == {}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("family", ["fused", "factorized"])
def test_tensorrt_has_them_in_half_precision_too(family: str, precision: Any, tmp_path: Path) -> None:
    model = models.build(CASES[family]).eval()
    contract = model.make_contract(name="small").model_copy(update={"precision": precision})
    graph = write_graph(lower_residual(fold(model), precision), contract, tmp_path / "model.onnx")
    assert tensorrt_objections(graph) == ()


def test_indices_are_held_within_their_range_as_before(tmp_path: Path) -> None:
    """The field is continued by its edge values: what Max and Min leave is what PyTorch's clamp leaves."""
    model = models.build(CASES["unet"]).eval()
    contract = model.make_contract(name="small")
    graph = write_graph(model, contract, tmp_path / "model.onnx")
    assert not [node for node in graph.graph.node if node.op_type == "Clip"]
    inputs = smooth_inputs(contract, (2, 1, 1, 5, 7))
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        truth = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
    np.testing.assert_allclose(session.run(["fine"], inputs)[0], truth, rtol=0, atol=1e-4)


def test_no_family_is_left_out() -> None:
    assert set(CASES) == set(models.FAMILIES)
