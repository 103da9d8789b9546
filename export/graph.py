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
from onnx import version_converter
from torch import nn
from torch.export import Dim

from export.simplify import simplify
from gfs_sr.contract import Contract, NoiseDistribution, NoiseGrid
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import DENOISER, MEAN, MODEL
from gfs_sr.runtime.backends.shapes import halo_of
from gfs_sr.runtime.backends.signature import signature_of

OPSET = 20  # the exporter's own default; TensorRT 10 and OpenVINO know all of it
TRACED_OPSET = 20  # the last the tracer writes
BF16_OPSET = 22  # the first whose convolution takes bf16
OPSETS = range(18, 25)  # what the exporter writes and the checker passes


def write_graph(
    model: nn.Module, contract: Contract, path: Path, opset: int = OPSET, role: str = MODEL
) -> onnx.ModelProto:
    """Trace `model`, check the graph, write it to `path`.

    Inputs and outputs are named as the role's signature says. B, T, H, W may have any size at run time, C too where the
    contract takes any subset of the variables. bf16 raises `opset` to `BF16_OPSET`.

    Raises:
        UsageError: an operator set that cannot be written.
    """
    if contract.precision == "bf16":
        opset = max(opset, BF16_OPSET)
    if opset not in OPSETS:
        raise UsageError(
            f"opset {opset} cannot be written", "--opset", f"choose one of {OPSETS.start} to {OPSETS.stop - 1}"
        )
    if role in (MEAN, DENOISER) and opset > TRACED_OPSET:
        raise UsageError(
            f"opset {opset} cannot be written for a model that draws members", "--opset", f"give {TRACED_OPSET} or less"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        if opset <= TRACED_OPSET or contract.precision == "bf16":
            graph = _trace(model, contract, path, min(opset, TRACED_OPSET), role)
        else:
            graph = _capture(model, contract, opset)
        if contract.precision == "bf16":  # the tracer writes types that its operator set did not have yet
            graph = version_converter.convert_version(graph, opset)
    _strip(graph)
    simplify(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
    return graph


def _trace(model: nn.Module, contract: Contract, path: Path, opset: int, role: str) -> onnx.ModelProto:
    """By running the network once and recording its operators: seconds for every family.

    Symbolic capture (`_capture`) takes minutes where a network crops by a margin in every layer, for it compares
    polynomials in B, T, H and W at every operator (torch 2.13).
    """
    examples = example_inputs(contract, role)
    names = list(examples)
    axes = _axes_of_denoiser(contract) if role == DENOISER else _axes_of(contract)
    outputs = signature_of(contract, role).outputs
    given = {0: "B", 1: "fine_T", 3: "fine_H", 4: "fine_W"}
    with torch.no_grad():
        torch.onnx.export(
            _Positional(model, names).eval(),
            tuple(examples.values()),
            path,
            input_names=names,
            output_names=list(outputs),
            dynamic_axes=axes | {name: given | {2: f"{name}_C"} for name in outputs},
            opset_version=opset,
            dynamo=False,
        )
    graph = onnx.load(path)
    _restore_inputs(graph, examples, axes)
    return graph


def _restore_inputs(graph: onnx.ModelProto, examples: dict[str, torch.Tensor], axes: dict[str, dict[int, str]]) -> None:
    """The tracer drops inputs that a network ignores; the contract promises them, so they come back, in order."""
    known = {each.name: each for each in graph.graph.input}
    for name, tensor in examples.items():
        if name not in known:
            kind = onnx.TensorProto.INT64 if tensor.dtype == torch.int64 else onnx.TensorProto.FLOAT
            sizes = [axes[name].get(axis, size) for axis, size in enumerate(tensor.shape)]
            known[name] = onnx.helper.make_tensor_value_info(name, kind, sizes)
    ordered = [known[name] for name in examples]
    del graph.graph.input[:]
    graph.graph.input.extend(ordered)


class _Positional(nn.Module):
    """The tracer gives inputs by position, our networks take them by name."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        given: torch.Tensor | tuple[torch.Tensor, ...] = self.model(**dict(zip(self.names, inputs, strict=True)))
        return given


def _axes_of(contract: Contract) -> dict[str, dict[int, str]]:
    return {
        name: _plain_names({axis: each.__name__ for axis, each in dims.items()})
        for name, dims in dynamic_shapes(contract).items()
    }


def _axes_of_denoiser(contract: Contract) -> dict[str, dict[int, str]]:
    some = contract.any_subset and len(contract.inputs) > 1
    field = {0: "B", 1: "noisy_T", 3: "noisy_H", 4: "noisy_W"}
    axes = {
        "noisy": field | ({2: "C"} if some else {}),
        "condition": field | ({2: "condition_C"} if some else {}),
        "sigma": {0: "B"},
    }
    return axes | ({"variable": {0: "C"} if some else {}} if contract.any_subset else {})


def _plain_names(dims: dict[int, str]) -> dict[int, str]:
    """`6*T - 18` -> `fine_T`: the tracer takes identifiers alone."""
    return {axis: name if name.isidentifier() else f"fine_{'BTCHW'[axis]}" for axis, name in dims.items()}


def _capture(model: nn.Module, contract: Contract, opset: int) -> onnx.ModelProto:
    """By symbolic capture: the only way to the latest operator sets."""
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
    return program.model_proto


def example_inputs(contract: Contract, role: str = MODEL) -> dict[str, torch.Tensor]:
    """Inputs to trace with: no dynamic axis has size 1, which the tracer would take for a constant."""
    channels = len(contract.outputs if role == DENOISER else contract.inputs)
    traced = max(2, channels - 1) if contract.any_subset and channels > 2 else channels
    bound = contract.source_grid
    rows, columns = (4, 5) if bound is None else (len(bound.lat), len(bound.lon))
    signature = signature_of(contract, role)
    # of a denoiser's input nearly all is halo
    shapes = signature.input_shapes((2, 2, traced, 1, 2) if role == DENOISER else (2, 3, traced, rows, columns))
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items() if name != "variable"}
    for noise in contract.noise if role != DENOISER else ():
        if noise.distribution is NoiseDistribution.UNIFORM:
            inputs[noise.graph_input] = torch.rand(shapes[noise.graph_input], generator=generator)
    if contract.any_subset:
        inputs["variable"] = torch.arange(traced)
    if "sigma" in inputs:
        inputs["sigma"] = inputs["sigma"].exp()
    return {name: inputs[name] for name in signature.inputs}


def dynamic_shapes(contract: Contract) -> dict[str, dict[int, Any]]:
    """Which axes of which input may change, and how they hang together."""
    halo, r, s = halo_of(contract), contract.time_factor, contract.scale_factor
    frames, rows, columns = halo.before + halo.after, halo.north + halo.south, halo.west + halo.east
    batch = Dim("B", min=1)
    time, lat, lon = (Dim(name, min=margin + 1) for name, margin in (("T", frames), ("H", rows), ("W", columns)))
    coarse: dict[int, Any] = {0: batch, 1: time} if contract.source_grid else {0: batch, 1: time, 3: lat, 4: lon}
    fine_time: Any = r * time - r * frames if frames else r * time
    if contract.any_time:  # M times as many as there are intervals, and M is no constant
        fine_time = Dim("moments", min=1)
    fine_lat = s * lat - s * rows if rows else s * lat
    fine_lon = s * lon - s * columns if columns else s * lon
    shapes: dict[str, dict[int, Any]] = {
        "coarse": coarse,
        "predictor_coarse": coarse,
        "predictor_coarse_fine_time": coarse | {1: fine_time},
        "predictor_fine": {0: batch, 1: fine_time, 3: fine_lat, 4: fine_lon},
        "fraction": {0: batch, 1: Dim("intervals", min=1), 2: Dim("M", min=1)},
        "hours": {0: batch},
        "static_coarse": _without_time(coarse),
        "static_fine": _without_time(coarse),
    }
    for noise in contract.noise:
        times = coarse if noise.grid is NoiseGrid.COARSE else coarse | {1: time if r == 1 else r * time}
        cells = {0: batch, 1: times[1]} if noise.grid is NoiseGrid.SHARED else times
        shapes[noise.graph_input] = cells
    if contract.any_subset and len(contract.inputs) > 1:
        channel = Dim("C", min=1, max=len(contract.inputs))
        shapes["coarse"] = coarse | {2: channel}
        shapes["variable"] = {0: channel}
    elif contract.any_subset:
        shapes["variable"] = {}
    return {name: shapes[name] for name in contract.graph_inputs()}


def _without_time(axes: dict[int, Any]) -> dict[int, Any]:
    return {axis: each for axis, each in axes.items() if axis != 1}


def residual_dtypes(graph: onnx.ModelProto) -> set[str]:
    """Element types of the graph's floating-point weights and constants of more than one value."""
    tensors = list(graph.graph.initializer)
    tensors += [each.t for node in graph.graph.node if node.op_type == "Constant" for each in node.attribute]
    kinds = {onnx.helper.tensor_dtype_to_np_dtype(each.data_type) for each in tensors if len(each.dims) > 1}
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
