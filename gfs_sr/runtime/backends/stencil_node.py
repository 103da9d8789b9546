"""Convolutions of one field into many as an operator of OpenVINO models, in the place of its own.

OpenVINO computes them channels last and then turns the result round, which takes several times as long: these fixed
filters, of the interpolation and of the corrections to it, write 36 values for one that they read.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import Op

from gfs_sr._core import convolve_field
from gfs_sr.runtime.backends.winograd_nodes import plain_weight

FEWEST_OUTPUTS: Final = 4  # below, there is little to turn round


def replace_stencils(model: Any, threads: int) -> int:
    """Put ours in the place of every convolution of one channel into several.

    Args:
        model: an `openvino.Model` of static shapes; changed in place.
        threads: 0 takes all processors.

    Returns:
        How many were replaced.
    """
    weights = [(node, plain_weight(node)) for node in model.get_ordered_ops()]
    found = [(node, weight) for node, weight in weights if weight is not None and _is_stencil(weight)]
    for node, weight in found:
        own = StencilNode(node.input_value(0), np.ascontiguousarray(weight), threads)
        node.output(0).replace(own.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


class StencilNode(Op):  # type: ignore[misc]  # OpenVINO tells no types
    """(N, 1, H, W) -> (N, K, H - rows + 1, W - columns + 1) with weights (K, 1, rows, columns)."""

    def __init__(self, source: Any, weight: NDArray[np.float32], threads: int) -> None:
        super().__init__(self)
        self._facts = (weight, threads)
        self.set_arguments([source])
        self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """What comes out, of static shapes."""
        frames, _, height, width = (size.get_length() for size in self.get_input_partial_shape(0))
        outputs, _, rows, columns = self._facts[0].shape
        shape = openvino.PartialShape([frames, outputs, height - rows + 1, width - columns + 1])
        self.set_output_type(0, self.get_input_element_type(0), shape)

    def clone_with_new_inputs(self, new_inputs: Sequence[Any]) -> "StencilNode":
        """The same weights on other values."""
        return StencilNode(new_inputs[0], *self._facts)

    def has_evaluate(self) -> bool:
        """It computes itself."""
        return True

    def evaluate(self, outputs: Sequence[Any], inputs: Sequence[Any]) -> bool:
        """Run the kernel on the tensors' own memory."""
        weight, threads = self._facts
        convolve_field(weight, inputs[0].data, outputs[0].data, threads)
        return True


def _is_stencil(weight: NDArray[np.float32]) -> bool:
    outputs, inputs = weight.shape[:2]
    return bool(inputs == 1 and outputs >= FEWEST_OUTPUTS)
