"""Our convolution as an operator of OpenVINO models, in the place of its own.

Results differ from the plain convolution's by rounding, in fp32 by some 1e-6 of a typical value.

Source: Lavin and Gray 2016 (arXiv 1509.09308), at the points 0, ±1/√2, ±√2 and infinity, which keep rounding small.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import openvino
from openvino import Op
from openvino.passes import ConstantFolding, Manager

from gfs_sr._core import WinogradConvolution, WinogradWorkspace

FEWEST_CHANNELS: Final = 32  # in and out: below, turning fields into planes and back outweighs the products
SIZE: Final = 3
MARGIN: Final = 2  # cells that a residual block's two convolutions use up


def replace_convolutions(model: Any, threads: int) -> int:
    """Put ours in the place of every 3×3 convolution of `model` that is worth it, its bias and ReLU included.

    Args:
        model: an `openvino.Model` of static shapes; changed in place.
        threads: 0 takes all processors.

    Returns:
        How many were replaced.
    """
    folding = Manager()
    folding.register_pass(ConstantFolding())  # or biases and crops depend on shapes that are known
    folding.run_passes(model)
    workspace = WinogradWorkspace()
    found = [node for node in model.get_ordered_ops() if _is_ours(node)]
    for node in found:
        weight = _constant(node.input_value(1))
        bias, last = np.zeros(len(weight), np.float32), node
        addition = _only_reader(node, "Add")
        if addition is not None:
            constant = next((each for each in map(_constant, addition.input_values()) if each is not None), None)
            if constant is not None and constant.shape == (1, len(weight), 1, 1):
                bias, last = np.ascontiguousarray(constant.ravel()), addition
        inputs = [node.input_value(0)]
        clamped, skipping = _only_reader(last, "Relu"), _only_reader(last, "Add")
        skip = _skip_of(skipping, last) if skipping is not None else None
        if clamped is not None:
            last = clamped
        elif skip is not None:
            last = skipping
            inputs.append(skip)
        convolution = WinogradConvolution(np.ascontiguousarray(weight), bias, clamped is not None)
        own = WinogradNode(inputs, convolution, len(weight), workspace, threads)
        last.output(0).replace(own.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


class WinogradNode(Op):  # type: ignore[misc]  # OpenVINO tells no types
    """(N, C, H, W) -> (N, K, H - 2, W - 2) by our kernel, as an operator of an OpenVINO model.

    A second input, (N, K, H + 2, W + 2), is what a residual block skips: it is added without its margin.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        convolution: WinogradConvolution,
        outputs: int,
        workspace: WinogradWorkspace,
        threads: int,
    ) -> None:
        super().__init__(self)
        self._facts = (convolution, outputs, workspace, threads)
        self.set_arguments(list(inputs))
        self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """What comes out, of static shapes."""
        N, _, H, W = (size.get_length() for size in self.get_input_partial_shape(0))
        shape = openvino.PartialShape([N, self._facts[1], H - SIZE + 1, W - SIZE + 1])
        self.set_output_type(0, self.get_input_element_type(0), shape)

    def clone_with_new_inputs(self, new_inputs: Sequence[Any]) -> "WinogradNode":
        """The same convolution of other values."""
        return WinogradNode(new_inputs, *self._facts)

    def has_evaluate(self) -> bool:
        """It computes itself."""
        return True

    def evaluate(self, outputs: Sequence[Any], inputs: Sequence[Any]) -> bool:
        """Run the kernel on the tensors' own memory."""
        convolution, _, workspace, threads = self._facts
        skip = inputs[1].data if len(inputs) > 1 else None
        convolution.run(inputs[0].data, outputs[0].data, skip, workspace, threads)
        return True


def _is_ours(node: Any) -> bool:
    if node.get_type_name() != "Convolution":
        return False
    weight, attributes = _constant(node.input_value(1)), node.get_attributes()
    return (
        weight is not None
        and weight.dtype == np.float32
        and weight.shape[2:] == (SIZE, SIZE)
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
        and list(attributes["strides"]) == list(attributes["dilations"]) == [1, 1]
        and not any((*attributes["pads_begin"], *attributes["pads_end"]))
    )


def _skip_of(addition: Any, branch: Any) -> Any:
    """What a residual block adds to its branch, before it is cropped; None where `addition` does something else."""
    others = [value for value in addition.input_values() if value.get_node() != branch]
    if len(others) != 1 or others[0].get_node().get_type_name() != "Slice":
        return None
    whole, *bounds = others[0].get_node().input_values()
    starts, _, steps, axes = (None if each is None else each.tolist() for each in map(_constant, bounds))
    size, left = whole.get_shape(), others[0].get_shape()
    is_crop = (
        starts == [MARGIN, MARGIN] and steps == [1, 1] and axes is not None and {axis % 4 for axis in axes} == {2, 3}
    )
    return whole if is_crop and list(size) == [*left[:2], *(n + 2 * MARGIN for n in left[2:])] else None


def _constant(value: Any) -> Any:
    """What a constant holds; None where it is none."""
    node = value.get_node()
    return node.get_data() if node.get_type_name() == "Constant" else None


def _only_reader(node: Any, kind: str) -> Any:
    """The one operator that reads `node`, if it is of that kind."""
    readers = list(node.output(0).get_target_inputs())
    if len(readers) != 1 or readers[0].get_node().get_type_name() != kind:
        return None
    return readers[0].get_node()
