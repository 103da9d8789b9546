"""Two engines disagree: at which layer do they part? The graph itself with all that lies between as outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto

from export.emulation import emulate_bf16
from gfs_sr.runtime.backends.base import Array

Runner = Callable[[onnx.ModelProto, Mapping[str, Array]], Mapping[str, Array]]
"""Gives every output of a graph."""

FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}
NOISE: Final = 1e-30  # tensors that are zero everywhere have no spread to compare with


@dataclass(frozen=True)
class Divergence:
    """The first layer, in the graph's order, whose output strays."""

    node: str
    operator: str
    tensor: str
    strays: float  # largest difference by the tensor's own spread
    inputs_stray: float  # the most that any of its own inputs did: small, and the layer itself is the cause

    def __str__(self) -> str:
        return (
            f"they part at {self.operator} {self.node!r}: {self.tensor!r} strays by {self.strays:.2g} of its spread, "
            f"its inputs by {self.inputs_stray:.2g}"
        )


def first_divergence(
    graph: onnx.ModelProto, inputs: Mapping[str, Array], reference: Runner, candidate: Runner, tolerance: float
) -> Divergence | None:
    """Where `candidate` first strays from `reference` by more than `tolerance` of a tensor's spread; None: nowhere.

    Memory holds every tensor of the graph twice: give a small batch.
    """
    exposed = expose(graph)
    truth, other = reference(exposed, inputs), candidate(exposed, inputs)
    strayed: dict[str, float] = {}
    for node in exposed.graph.node:
        if node.op_type == "Cast" and node.output[0].endswith(SUFFIX):
            continue
        for name in node.output:
            key = name if name in truth else name + SUFFIX
            if key not in truth:
                continue
            strays = strayed[name] = _strays(truth[key], other[key])
            if not strays <= tolerance:  # what is no number strays
                own = max((strayed.get(each, 0.0) for each in node.input), default=0.0)
                return Divergence(node.name, node.op_type, name, strays, own)
    return None


SUFFIX: Final = "/exposed"


def expose(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `graph` that gives every floating-point tensor, in fp32; those of half precision by way of a cast."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(graph)
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in inferred.value_info}
    constants = {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}
    known = {each.name for each in graph.graph.output}
    for node in graph.graph.node:
        for name in node.output:
            kind = kinds.get(name)
            if kind not in FLOATS or name in known or name in constants:
                continue
            if kind != TensorProto.FLOAT:
                exposed.graph.node.append(
                    onnx.helper.make_node("Cast", [name], [name + SUFFIX], name=name + SUFFIX, to=TensorProto.FLOAT)
                )
                name += SUFFIX
            exposed.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return exposed


def run_onnxruntime(graph: onnx.ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """By ONNX Runtime on the CPU, layer by layer as the graph says: fused layers would have nothing between.

    bf16 is emulated.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(emulate_bf16(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _strays(truth: Array, other: Array) -> float:
    if truth.shape != other.shape:
        return float("inf")
    if not truth.size:
        return 0.0
    spread = max(float(np.std(truth)), float(np.abs(truth).max()) * 1e-3, NOISE)
    return float(np.abs(np.asarray(other, np.float64) - truth).max()) / spread
