"""Wide convolutions in int8, with what lies between them in fp32: ranges come from the checkpoint's own sample."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from export.parity import Batch
from gfs_sr.errors import UsageError

WIDE: Final = 16  # input channels: narrower convolutions cost little, interpolations have one


def quantize(path: Path, batches: Sequence[Batch]) -> None:
    """Put the wide convolutions of the graph at `path` into int8, in place.

    Weights are scaled per output channel, activations by the range they take on `batches`; what lies beyond is cut off.
    `fused` takes its inputs by their local spread, so ranges hold for weather the sample does not show.

    Raises:
        UsageError: the graph has no wide convolution.
    """
    graph = onnx.load(path)
    shapes = {each.name: list(each.dims) for each in graph.graph.initializer}
    wide = [
        node.name for node in graph.graph.node if node.op_type == "Conv" and _is_wide(shapes.get(node.input[1], []))
    ]
    if not wide:
        raise UsageError(
            "this model has no convolution that int8 would speed up", "--precision", "use --precision fp32"
        )
    fp32 = path.with_suffix(".fp32.onnx")
    path.rename(fp32)
    try:
        with _quiet():
            quantize_static(
                fp32,
                path,
                _Sample(batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=wide,
            )
    finally:
        fp32.unlink()
    onnx.checker.check_model(onnx.load(path), full_check=True)


def _is_wide(weight: Sequence[int]) -> bool:
    """Whether a convolution with a weight of that shape gains more than conversions to and from int8 cost."""
    return len(weight) == 4 and weight[1] >= WIDE and weight[2] > 1


class _Sample(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Sequence[Batch]) -> None:
        self._inputs: Iterator[Any] = iter([dict(batch.inputs) for batch in batches])

    def get_next(self) -> Any:
        """The next batch, None at the end: as the base class says."""
        return next(self._inputs, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its advice to pre-process: the graph is simplified already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
