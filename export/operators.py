"""Would TensorRT take this graph? Checked against its published table of operators, without TensorRT."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import onnx

TABLE = Path(__file__).parent / "tensorrt_operators.json"
_NAMES = {
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.DOUBLE: "DOUBLE",
}
# operators whose outputs are of another type than what they compute on
_TYPED_BY_INPUT = {"Shape", "Size", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "ArgMax", "ArgMin"}


@dataclass(frozen=True)
class Objection:
    """One reason why TensorRT would refuse."""

    node: str
    operator: str
    reason: str


@cache
def _supported() -> dict[str, frozenset[str]]:
    groups = json.loads(TABLE.read_text(encoding="utf-8"))["operators"]
    return {operator: frozenset(types.split()) for types, operators in groups.items() for operator in operators}


def table_source() -> str:
    """Where the table comes from."""
    return str(json.loads(TABLE.read_text(encoding="utf-8"))["source"])


def tensorrt_objections(graph: onnx.ModelProto, plugins: str | None = None) -> tuple[Objection, ...]:
    """What in `graph` TensorRT does not support; empty if it would take all of it, as far as its table tells.

    Nodes of the domain `plugins` are taken for plugins that will be there.
    """
    return (*_opset_objections(graph, plugins), *_node_objections(graph, plugins))


def _opset_objections(graph: onnx.ModelProto, plugins: str | None) -> Iterator[Objection]:
    lowest, highest = json.loads(TABLE.read_text(encoding="utf-8"))["opset"]
    for opset in graph.opset_import:
        if opset.domain and opset.domain == plugins:
            continue
        if opset.domain not in ("", "ai.onnx"):
            yield Objection("graph", opset.domain, "operators of this domain are unknown to TensorRT")
        elif not lowest <= opset.version <= highest:
            yield Objection("graph", "opset", f"{opset.version} is not within {lowest} to {highest}")


def _node_objections(graph: onnx.ModelProto, plugins: str | None) -> Iterator[Objection]:
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    types = {each.name: each.data_type for each in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    for node in inferred.node:
        if node.domain and node.domain == plugins:
            continue
        allowed = _supported().get(node.op_type)
        if allowed is None:
            yield Objection(node.name, node.op_type, "not in TensorRT's table of operators")
            continue
        # the first operand tells the type: further ones are often shapes and axes
        typed = node.input[:1] if node.op_type in _TYPED_BY_INPUT else (*node.input[:1], *node.output)
        for name in typed:
            given = _NAMES.get(types.get(name, 0), "")
            if given and given not in allowed:
                yield Objection(node.name, node.op_type, f"{given} is not among {', '.join(sorted(allowed))}")
        yield from _attribute_objections(node)


def _attribute_objections(node: onnx.NodeProto) -> Iterator[Objection]:
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "Resize":
        mode = attributes.get("mode", b"nearest").decode()
        if mode not in ("nearest", "linear"):
            yield Objection(node.name, "Resize", f"mode {mode} is not among linear, nearest")
        if attributes.get("antialias", 0):
            yield Objection(node.name, "Resize", "antialiasing is not supported")
    if node.op_type == "ScatterND" and attributes.get("reduction", b"none") != b"none":
        yield Objection(node.name, "ScatterND", "reductions are not supported")
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield Objection(node.name, "MaxPool", "the indices are not supported")
