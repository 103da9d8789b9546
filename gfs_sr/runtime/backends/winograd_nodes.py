"""Our convolution as an operator of OpenVINO models, in the place of its own.

Results differ from the plain convolution's by rounding, in fp32 by some 1e-6 of a typical value.

Source: Lavin and Gray 2016 (arXiv 1509.09308), at the points 0, ±1/√2, ±√2 and infinity, which keep rounding small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import Op
from openvino.passes import ConstantFolding, Manager

from gfs_sr._core import WinogradConvolution, WinogradWorkspace

FEWEST_CHANNELS: Final = 32  # in and out: below, turning fields into planes and back outweighs the products
SIZES: Final = (3, 5)
MARGIN: Final = 2  # cells that a residual block's two convolutions use up

Block = tuple[WinogradConvolution, WinogradConvolution]


@dataclass
class Found:
    """A convolution of the model that is to be replaced, with the bias, ReLU or addition behind it."""

    node: Any
    convolution: WinogradConvolution
    result: Any  # the value that it computes, bias and ReLU included
    skipped: Any  # what is added to that without its margin; None where nothing is
    sum: Any  # of both

    @property
    def source(self) -> Any:
        """The value it reads."""
        return self.node.input_value(0)


class Scratch:
    """Memory that all operators of a model share, one after the other: it grows to the largest and stays."""

    def __init__(self) -> None:
        self.workspace = WinogradWorkspace()
        self._floats = [np.empty(0, np.float32)] * 2

    def field(self, number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """One of two fields; what it held before is lost."""
        count = int(np.prod(shape))
        if self._floats[number].size < count:
            self._floats[number] = np.empty(count, np.float32)
        return self._floats[number][:count].reshape(shape)


def replace_convolutions(model: Any, threads: int) -> int:
    """Put ours in the place of every 3×3 and 5×5 convolution of `model` that is worth it, its bias and ReLU included.

    Residual blocks that follow each other become one operator.

    Args:
        model: an `openvino.Model` of static shapes; changed in place.
        threads: 0 takes all processors.

    Returns:
        How many were replaced.
    """
    folding = Manager()
    folding.register_pass(ConstantFolding())  # or biases and crops depend on shapes that are known
    folding.run_passes(model)
    scratch = Scratch()
    found = [_found(node) for node in model.get_ordered_ops() if _is_ours(node)]
    for chain in _chains(found):
        if len(chain) == 1:
            own: Op = WinogradNode(chain[0].source, chain[0].convolution, scratch, threads)
            chain[0].result.replace(own.output(0))
        else:
            convolutions = [each.convolution for each in chain]
            blocks = list(zip(convolutions[::2], convolutions[1::2], strict=True))
            own = ResidualBlocksNode(chain[0].source, blocks, scratch, threads)
            chain[-1].sum.replace(own.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


class WinogradNode(Op):  # type: ignore[misc]  # OpenVINO tells no types
    """(N, C, H, W) -> (N, K, H - size + 1, W - size + 1) by our kernel, as an operator of an OpenVINO model."""

    def __init__(self, source: Any, convolution: WinogradConvolution, scratch: Scratch, threads: int) -> None:
        super().__init__(self)
        self._facts = (convolution, scratch, threads)
        self.set_arguments([source])
        self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """What comes out, of static shapes."""
        N, _, H, W = (size.get_length() for size in self.get_input_partial_shape(0))
        convolution = self._facts[0]
        shape = openvino.PartialShape([N, convolution.outputs, H - convolution.size + 1, W - convolution.size + 1])
        self.set_output_type(0, self.get_input_element_type(0), shape)

    def clone_with_new_inputs(self, new_inputs: Sequence[Any]) -> "WinogradNode":
        """The same convolution of other values."""
        return WinogradNode(new_inputs[0], *self._facts)

    def has_evaluate(self) -> bool:
        """It computes itself."""
        return True

    def evaluate(self, outputs: Sequence[Any], inputs: Sequence[Any]) -> bool:
        """Run the kernel on the tensors' own memory."""
        convolution, scratch, threads = self._facts
        convolution.run(inputs[0].data, outputs[0].data, None, scratch.workspace, threads)
        return True


class ResidualBlocksNode(Op):  # type: ignore[misc]  # OpenVINO tells no types
    """(N, C, H, W) -> (N, C, H - 4n, W - 4n): n residual blocks, each x + second(first(x)) without its margin.

    Every frame goes through all blocks before the next one does, so that it stays in the processor's last cache.
    """

    def __init__(self, source: Any, blocks: Sequence[Block], scratch: Scratch, threads: int) -> None:
        super().__init__(self)
        self._facts = (tuple(blocks), scratch, threads)
        self.set_arguments([source])
        self.constructor_validate_and_infer_types()

    def validate_and_infer_types(self) -> None:
        """What comes out, of static shapes."""
        N, C, H, W = (size.get_length() for size in self.get_input_partial_shape(0))
        used = 2 * MARGIN * len(self._facts[0])
        self.set_output_type(0, self.get_input_element_type(0), openvino.PartialShape([N, C, H - used, W - used]))

    def clone_with_new_inputs(self, new_inputs: Sequence[Any]) -> "ResidualBlocksNode":
        """The same blocks of other values."""
        return ResidualBlocksNode(new_inputs[0], *self._facts)

    def has_evaluate(self) -> bool:
        """It computes itself."""
        return True

    def evaluate(self, outputs: Sequence[Any], inputs: Sequence[Any]) -> bool:
        """Run the kernel frame by frame."""
        blocks, scratch, threads = self._facts
        source, target = inputs[0].data, outputs[0].data
        for frame in range(len(source)):
            x = source[frame : frame + 1]
            for number, (first, second) in enumerate(blocks):
                _, channels, height, width = x.shape
                between = scratch.field(0, (1, first.outputs, height - 2, width - 2))
                first.run(x, between, None, scratch.workspace, threads)
                if number == len(blocks) - 1:
                    y = target[frame : frame + 1]
                elif number == 0:
                    y = scratch.field(1, (1, channels, height - 2 * MARGIN, width - 2 * MARGIN))
                else:
                    y = x[..., MARGIN:-MARGIN, MARGIN:-MARGIN]  # in the place of what is skipped
                second.run(between, y, x, scratch.workspace, threads)
                x = y
        return True


def _found(node: Any) -> Found:
    """What is replaced around one convolution."""
    weight = _constant(node.input_value(1))
    bias, last, skipped = np.zeros(len(weight), np.float32), node, None
    addition = _only_reader(node, "Add")
    if addition is not None:
        constant = next((each for each in map(_constant, addition.input_values()) if each is not None), None)
        if constant is not None and constant.shape == (1, len(weight), 1, 1):
            bias, last = np.ascontiguousarray(constant.ravel()), addition
    clamped, skipping = _only_reader(last, "Relu"), _only_reader(last, "Add")
    if clamped is not None:
        last = clamped
    elif skipping is not None:
        skipped = _skip_of(skipping, last)
    convolution = WinogradConvolution(np.ascontiguousarray(weight), bias, clamped is not None)
    return Found(node, convolution, last.output(0), skipped, None if skipped is None else skipping.output(0))


def _chains(found: Sequence[Found]) -> list[list[Found]]:
    """Convolutions alone, and those of residual blocks that follow each other."""
    chains: list[list[Found]] = []
    position = 0
    while position < len(found):
        pair = list(found[position : position + 2])
        if not _is_block(pair):
            chains.append(pair[:1])
        elif chains and len(chains[-1]) > 1 and _follows(chains[-1][-1], pair[0]):
            chains[-1].extend(pair)
        else:
            chains.append(pair)
        position += len(pair) if chains[-1][-1] is pair[-1] else 1
    return chains


def _is_block(pair: Sequence[Found]) -> bool:
    """Whether two convolutions are a residual block's."""
    if len(pair) < 2:
        return False
    first, second = pair
    return (
        second.source == first.result
        and first.skipped is None
        and second.skipped is not None
        and second.skipped == first.source
        and len(first.result.get_target_inputs()) == 1
        and first.convolution.size == second.convolution.size == 1 + MARGIN
    )


def _follows(block: Found, first: Found) -> bool:
    """Whether a block's result goes nowhere but into the next block: its convolution and its crop."""
    return first.source == block.sum and len(block.sum.get_target_inputs()) == 2


def plain_weight(node: Any) -> Any:
    """The weights of a convolution in space of fixed fp32 weights, cell by cell and without padding; else None."""
    if node.get_type_name() != "Convolution":
        return None
    weight, attributes = _constant(node.input_value(1)), node.get_attributes()
    is_plain = (
        weight is not None
        and weight.dtype == np.float32
        and weight.ndim == 4
        and list(attributes["strides"]) == list(attributes["dilations"]) == [1, 1]
        and not any((*attributes["pads_begin"], *attributes["pads_end"]))
    )
    return weight if is_plain else None


def _is_ours(node: Any) -> bool:
    weight = plain_weight(node)
    return (
        weight is not None
        and weight.shape[2:] in {(size, size) for size in SIZES}
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
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
