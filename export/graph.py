"""A network as an ONNX graph with dynamic batch, time and space."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.export import Dim

from gfs_sr.contract import Contract
from gfs_sr.errors import UsageError
from gfs_sr.runtime.backends.base import halo_of, input_shapes

OPSET = 20  # the exporter's own default; TensorRT 10 and OpenVINO know all of it
BF16_OPSET = 22  # the first whose convolution takes bf16
OPSETS = range(18, 25)  # what the exporter writes and the checker passes


def write_graph(model: nn.Module, contract: Contract, path: Path, opset: int = OPSET) -> onnx.ModelProto:
    """Trace `model`, check the graph, write it to `path`.

    Inputs are named as in `Contract.graph_inputs`, the output `fine`. B, T, H, W may have any size at run time, C too
    where the contract takes any subset of the variables. bf16 raises `opset` to `BF16_OPSET`.

    Raises:
        UsageError: an operator set that cannot be written.
    """
    if contract.precision == "bf16":
        opset = max(opset, BF16_OPSET)
    if opset not in OPSETS:
        raise UsageError(
            f"opset {opset} cannot be written", "--opset", f"choose one of {OPSETS.start} to {OPSETS.stop - 1}"
        )
    with _quiet():
        program = torch.onnx.export(
            model,
            args=(),
            kwargs=example_inputs(contract),
            input_names=list(contract.graph_inputs()),
            output_names=["fine"],
            dynamic_shapes=dynamic_shapes(contract),
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    graph = program.model_proto
    _strip(graph)
    onnx.checker.check_model(graph, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph, path)
    return graph


def example_inputs(contract: Contract) -> dict[str, torch.Tensor]:
    """Inputs to trace with: no dynamic axis has size 1, which the tracer would take for a constant."""
    channels = len(contract.inputs)
    traced = max(2, channels - 1) if contract.any_subset and channels > 2 else channels
    shapes = input_shapes(contract, (2, 3, traced, 4, 5))
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items() if name != "variable"}
    if contract.any_subset:
        inputs["variable"] = torch.arange(traced)
    return {name: inputs[name] for name in contract.graph_inputs()}


def dynamic_shapes(contract: Contract) -> dict[str, dict[int, Any]]:
    """Which axes of which input may change, and how they hang together."""
    halo, r, s = halo_of(contract), contract.time_factor, contract.scale_factor
    frames, rows, columns = halo.before + halo.after, halo.north + halo.south, halo.west + halo.east
    batch = Dim("B", min=1)
    time, lat, lon = (Dim(name, min=margin + 1) for name, margin in (("T", frames), ("H", rows), ("W", columns)))
    coarse: dict[int, Any] = {0: batch, 1: time, 3: lat, 4: lon}
    fine_time = r * time - r * frames if frames else r * time
    fine_lat = s * lat - s * rows if rows else s * lat
    fine_lon = s * lon - s * columns if columns else s * lon
    shapes: dict[str, dict[int, Any]] = {
        "coarse": coarse,
        "predictor_coarse": coarse,
        "predictor_coarse_fine_time": coarse | {1: fine_time},
        "predictor_fine": {0: batch, 1: fine_time, 3: fine_lat, 4: fine_lon},
        "static_coarse": {0: batch, 3: lat, 4: lon},
        "static_fine": {0: batch, 3: lat, 4: lon},
    }
    if contract.any_subset and len(contract.inputs) > 1:
        channel = Dim("C", min=1, max=len(contract.inputs))
        shapes["coarse"] = coarse | {2: channel}
        shapes["variable"] = {0: channel}
    elif contract.any_subset:
        shapes["variable"] = {}
    return {name: shapes[name] for name in contract.graph_inputs()}


def residual_dtypes(graph: onnx.ModelProto) -> set[str]:
    """Element types of the graph's floating-point weights."""
    kinds = {onnx.helper.tensor_dtype_to_np_dtype(each.data_type) for each in graph.graph.initializer}
    return {kind.name for kind in kinds if kind.name == "bfloat16" or np.issubdtype(kind, np.floating)}


def _strip(graph: onnx.ModelProto) -> None:
    """Drop what the exporter notes about its own run: stack traces with paths of this machine."""
    del graph.metadata_props[:]
    del graph.graph.metadata_props[:]
    graph.doc_string = ""
    graph.graph.doc_string = ""
    for group in (
        graph.graph.node,
        graph.graph.initializer,
        graph.graph.value_info,
        graph.graph.input,
        graph.graph.output,
    ):
        for each in group:
            del each.metadata_props[:]
            each.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on optional packages and on its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
