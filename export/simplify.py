"""A traced graph without its repetitions: what is computed twice is computed once, slices of slices are one."""

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

INTEGERS = {TensorProto.INT32, TensorProto.INT64}


def simplify(graph: onnx.ModelProto) -> None:
    """Shorten `graph` in place, its function bitwise the same.

    The tracer writes every constant anew for every use and slices axis by axis; engines copy the data at each slice.
    Indices are held within a range by Max and Min: TensorRT's Clip takes no integers.
    """
    _spell_out_integer_clips(graph)
    _share(graph.graph)
    _join_slices(graph.graph)
    _share(graph.graph)
    _drop_unused(graph.graph)


def _spell_out_integer_clips(graph: onnx.ModelProto) -> None:
    """Clip of integers as Max, then Min, which every engine has for them."""
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in (*inferred.value_info, *inferred.input)}
    kept: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        if node.op_type != "Clip" or kinds.get(node.input[0]) not in INTEGERS:
            kept.append(node)
            continue
        limits = [("Max", node.input[1:2]), ("Min", node.input[2:3])]
        steps = [(operator, limit[0]) for operator, limit in limits if limit and limit[0]]
        value = node.input[0]
        for index, (operator, limit) in enumerate(steps):
            result = node.output[0] if index == len(steps) - 1 else f"{node.output[0]}/{operator}"
            kept.append(onnx.helper.make_node(operator, [value, limit], [result], name=f"{node.name}/{operator}"))
            value = result
    del graph.graph.node[:]
    graph.graph.node.extend(kept)


def _share(body: onnx.GraphProto) -> None:
    """Nodes of the same operator, attributes and inputs become one."""
    outputs = {each.name for each in body.output}
    known: dict[tuple[object, ...], list[str]] = {}
    renamed: dict[str, str] = {}
    kept = []
    for node in body.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        attributes = tuple(sorted(each.SerializeToString(deterministic=True) for each in node.attribute))
        key = (node.domain, node.op_type, tuple(node.input), len(node.output), attributes)
        if key in known and not outputs & set(node.output):
            renamed |= dict(zip(node.output, known[key], strict=True))
        else:
            known.setdefault(key, list(node.output))
            kept.append(node)
    del body.node[:]
    body.node.extend(kept)


def _join_slices(body: onnx.GraphProto) -> None:
    """A slice along other axes of a slice that nobody else reads is one slice of both."""
    constants = {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in body.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    readers = Counter(name for node in body.node for name in node.input)
    readers.update(each.name for each in body.output)
    makers: dict[str, onnx.NodeProto] = {}
    kept: list[onnx.NodeProto] = []
    for node in body.node:
        inner = makers.get(node.input[0]) if node.op_type == "Slice" else None
        if inner is not None and readers[node.input[0]] == 1 and _are_apart(node, inner, constants):
            joined = [np.concatenate([constants[each.input[k]] for each in (inner, node)]) for k in range(1, 4)]
            for what, values in zip(("starts", "ends", "axes"), joined, strict=True):
                name = f"{node.output[0]}/{what}"
                constants[name] = values
                kept.append(onnx.helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values)))
            node.input[0] = inner.input[0]
            del node.input[1:]
            node.input.extend(f"{node.output[0]}/{what}" for what in ("starts", "ends", "axes"))
            kept.remove(inner)
        if node.op_type == "Slice":
            makers[node.output[0]] = node
        kept.append(node)
    del body.node[:]
    body.node.extend(kept)


def _are_apart(node: onnx.NodeProto, inner: onnx.NodeProto, constants: dict[str, np.ndarray]) -> bool:
    """Whether both have constant limits, steps of one, and no axis in common."""
    for each in (node, inner):
        limits, steps = each.input[1:4], each.input[4:5]
        if len(limits) < 3 or any(name not in constants for name in (*limits, *steps)):
            return False
        if any((constants[name] != 1).any() for name in steps) or (constants[limits[2]] < 0).any():
            return False
    return not set(constants[node.input[3]].tolist()) & set(constants[inner.input[3]].tolist())


def _drop_unused(body: onnx.GraphProto) -> None:
    """Nodes and initializers nobody reads."""
    wanted = {each.name for each in body.output}
    kept = []
    for node in reversed(body.node):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    del body.node[:]
    body.node.extend(reversed(kept))
    initializers = [each for each in body.initializer if each.name in wanted]
    del body.initializer[:]
    body.initializer.extend(initializers)
    values = [each for each in body.value_info if each.name in wanted]
    del body.value_info[:]
    body.value_info.extend(values)
