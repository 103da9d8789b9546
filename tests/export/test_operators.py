"""The static check against TensorRT's operators."""

import json

import onnx
import pytest
from onnx import TensorProto, helper

from export.operators import TABLE, table_source, tensorrt_objections
from tests.artifacts import repeat_graph


def graph_of(
    operator: str, elements: int = TensorProto.FLOAT, opset: int = 20, **attributes: object
) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x"], ["y"], name="the_node", **attributes)
    values = [helper.make_tensor_value_info(name, elements, [4, 4]) for name in "xy"]
    graph = helper.make_graph([node], "one", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_a_graph_of_supported_operators_passes() -> None:
    assert tensorrt_objections(repeat_graph()) == ()
    assert tensorrt_objections(graph_of("Relu")) == ()


def test_an_operator_outside_the_table_is_named_with_its_node() -> None:
    (objection,) = tensorrt_objections(graph_of("Det"))
    assert (objection.node, objection.operator) == ("the_node", "Det")


def test_a_type_outside_the_table_is_named() -> None:
    objections = tensorrt_objections(graph_of("Sigmoid", TensorProto.DOUBLE))
    assert objections
    assert all("DOUBLE" in objection.reason for objection in objections)


def test_an_operator_set_of_tomorrow_is_named() -> None:
    (objection,) = tensorrt_objections(graph_of("Relu", opset=25))
    assert "25 is not within 9 to 24" in objection.reason


def test_cubic_resize_is_refused() -> None:
    graph = repeat_graph()
    resize = next(node for node in graph.graph.node if node.op_type == "Resize")
    next(each for each in resize.attribute if each.name == "mode").s = b"cubic"
    (objection,) = tensorrt_objections(graph)
    assert "cubic" in objection.reason


def test_the_table_names_its_source_and_only_real_operators() -> None:
    assert "TensorRT 10.15" in table_source()
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    listed = {each for group in json.loads(TABLE.read_text())["operators"].values() for each in group}
    assert listed <= known


@pytest.mark.parametrize("operator", ["Conv", "DepthToSpace", "Gather", "Slice", "Reshape", "Expand", "MatMul", "Cast"])
def test_the_operators_our_networks_are_made_of_are_in_the_table(operator: str) -> None:
    listed = {each for group in json.loads(TABLE.read_text())["operators"].values() for each in group}
    assert operator in listed
