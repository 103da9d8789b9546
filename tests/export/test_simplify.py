"""Traced graphs, shortened: the same function, bit for bit."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.simplify import simplify


def constant(name: str, values: list[int]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, np.int64)))


def graph(nodes: list[onnx.NodeProto], outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])
    ys = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in outputs]
    body = helper.make_graph(nodes, "test", [x], ys)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    x = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


def slice_of(data: str, out: str, start: int, end: int, axis: int, steps: int | None = None) -> list[onnx.NodeProto]:
    limits = [constant(f"{out}{what}", [value]) for what, value in (("s", start), ("e", end), ("a", axis))]
    names = [data, f"{out}s", f"{out}e", f"{out}a"]
    if steps is not None:
        limits.append(constant(f"{out}t", [steps]))
        names.append(f"{out}t")
    return [*limits, helper.make_node("Slice", names, [out])]


def shortened(model: onnx.ModelProto) -> tuple[list[str], onnx.ModelProto]:
    before = run(model)
    simplify(model)
    onnx.checker.check_model(model, full_check=True)
    for one, other in zip(before, run(model), strict=True):
        np.testing.assert_array_equal(one, other)
    return sorted(node.op_type for node in model.graph.node if node.op_type != "Constant"), model


def test_what_is_computed_twice_is_computed_once() -> None:
    nodes = [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Exp", ["x"], ["b"]),
             helper.make_node("Relu", ["a"], ["c"]), helper.make_node("Relu", ["b"], ["d"]),
             helper.make_node("Add", ["c", "d"], ["y"])]  # fmt: skip
    assert shortened(graph(nodes))[0] == ["Add", "Exp", "Relu"]


def test_other_attributes_are_another_operation() -> None:
    nodes = [helper.make_node("LeakyRelu", ["x"], ["a"], alpha=0.1),
             helper.make_node("LeakyRelu", ["x"], ["b"], alpha=0.2),
             helper.make_node("Sub", ["a", "b"], ["y"])]  # fmt: skip
    assert shortened(graph(nodes))[0] == ["LeakyRelu", "LeakyRelu", "Sub"]


def test_outputs_keep_their_names_though_they_are_equal() -> None:
    nodes = [helper.make_node("Exp", ["x"], ["y"]), helper.make_node("Exp", ["x"], ["z"])]
    assert shortened(graph(nodes, ("y", "z")))[0] == ["Exp", "Exp"]


@pytest.mark.parametrize("steps", [None, 1])
def test_slices_along_two_axes_are_one(steps: int | None) -> None:
    nodes = [*slice_of("x", "a", 1, -2, 0, steps), *slice_of("a", "y", 2, 2**62, 1, steps)]
    assert shortened(graph(nodes))[0] == ["Slice"]


@pytest.mark.parametrize(
    "nodes",
    [
        [*slice_of("x", "a", 1, -1, 0), *slice_of("a", "y", 1, -1, 0)],
        [*slice_of("x", "a", 1, -1, 0, 2), *slice_of("a", "y", 1, -1, 1)],
        [*slice_of("x", "a", 1, -1, -2), *slice_of("a", "y", 1, -1, 1)],
    ],
    ids=["one axis twice", "every other", "axes from the end"],
)
def test_slices_that_are_not_plainly_apart_stay_two(nodes: list[onnx.NodeProto]) -> None:
    assert shortened(graph(nodes))[0] == ["Slice", "Slice"]


def test_a_slice_that_others_read_stays() -> None:
    nodes = [*slice_of("x", "a", 1, -1, 0), *slice_of("a", "b", 1, 4, 1), helper.make_node("ReduceSum", ["a"], ["c"]),
             helper.make_node("Add", ["b", "c"], ["y"])]  # fmt: skip
    assert shortened(graph(nodes))[0] == ["Add", "ReduceSum", "Slice", "Slice"]


def test_what_nobody_reads_is_gone() -> None:
    nodes = [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Relu", ["x"], ["y"])]
    model = graph(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unused"))
    kinds, model = shortened(model)
    assert kinds == ["Relu"]
    assert not model.graph.initializer
