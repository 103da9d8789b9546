"""A graph for TensorRT in which our kernels are nodes, `gfs_sr::packed_…`, with weights as the kernels read them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor

from export.emulation import emulate_bf16
from export.graph import OPSET, TRACED_OPSET, write_graph
from export.parity import measure_parity, require_parity
from export.precision import DTYPES
from export.sample import sample_batches
from export.simplify import simplify
from gfs_sr.contract import Contract
from gfs_sr.errors import UsageError
from gfs_sr.kernels import packed
from gfs_sr.kernels.operators import NAMESPACE
from gfs_sr.kernels.packed import PACKED
from gfs_sr.models.checkpoint import Checkpoint
from gfs_sr.models.on_kernels import on_kernels
from gfs_sr.runtime.backends.base import Array

onnx_exporter: Any = torch.onnx  # the parts for custom operators carry no types
FIRST: Final = 1  # version of our own operator set
RANKS: Final = {"between_frames": (6, 6), "residual_block": (4, 1)}  # the block's second result is scratch memory


def write_plugin_graph(checkpoint: Checkpoint, contract: Contract, path: Path, where: str) -> onnx.ModelProto:
    """Write the graph of `checkpoint` on plugins; nothing is written of one that strays from the network.

    Raises:
        UsageError: the kernels do not fit the model, or its precision is not theirs.
        ParityFailed: on the packed operators it strays from the network on the checkpoint's own sample.
    """
    model = checkpoint.model()
    dtype = DTYPES.get(contract.precision)
    network = on_kernels(model, dtype, packed) if dtype is not None else None
    if network is None:
        raise UsageError(
            f"no plugins take {contract.family} in {contract.precision}",
            "--plugins",
            "leave --plugins out; they take fused and factorized up to 64 wide, in fp32, fp16 and bf16",
        )
    network.requires_grad_(False)

    def run(module: Any, inputs: Mapping[str, Array]) -> Any:
        with torch.inference_mode():
            return module(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()

    lines = measure_parity(
        contract, sample_batches(checkpoint.sample, contract), lambda x: run(model, x), lambda x: run(network, x)
    )
    require_parity(lines, where)
    with _nodes():
        graph = write_graph(network, contract, path, min(OPSET, TRACED_OPSET))
    _fold(graph)
    simplify(graph)
    onnx.save(graph, path)
    return graph


@contextmanager
def _nodes() -> Iterator[None]:
    """Within, the exporter writes a node for every packed operator."""
    for name in PACKED:
        onnx_exporter.register_custom_op_symbolic(f"{NAMESPACE}::packed_{name}", _symbolic(name), FIRST)
    try:
        yield
    finally:
        for name in PACKED:
            onnx_exporter.unregister_custom_op_symbolic(f"{NAMESPACE}::packed_{name}", FIRST)


def _symbolic(name: str) -> Any:
    known, ranks = PACKED[name], RANKS.get(name, (4,))

    def node(g: Any, *arguments: Any) -> Any:
        count = len(known.inputs)
        attributes = {
            f"{key}_{'f' if kind is float else 'i'}": onnx_exporter.symbolic_helper._get_const(
                given, kind.__name__[0], key
            )
            for (key, kind), given in zip(known.attributes.items(), arguments[count:], strict=True)
        }
        made = g.op(
            f"{NAMESPACE}::packed_{name}", *arguments[:count], **attributes,
            plugin_namespace_s=NAMESPACE, plugin_version_s="1", aot_i=1, outputs=len(ranks),
        )  # fmt: skip
        made = made if isinstance(made, (tuple, list)) else [made]
        for value, rank in zip(made, ranks, strict=True):
            value.setType(arguments[known.typed_by].type().with_sizes([None] * rank))
        return made[0] if name != "between_frames" else tuple(made)

    return node


def _fold(graph: onnx.ModelProto) -> None:
    """What a plugin's weights are packed by is computed here, so that they are constants of the graph."""
    constant = {each.name for each in graph.graph.initializer}
    foldable: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        if node.domain != NAMESPACE and all(name in constant for name in node.input if name):
            constant.update(node.output)
            foldable.append(node)
    made = {name for node in foldable for name in node.output}
    wanted = sorted({n for node in graph.graph.node if node.domain == NAMESPACE for n in node.input if n in made})
    if not wanted:
        return
    outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in wanted]
    part = onnx.helper.make_graph(foldable, "weights", [], outputs, list(graph.graph.initializer))
    standard = [each for each in graph.opset_import if each.domain in ("", "ai.onnx")]
    model = onnx.helper.make_model(part, opset_imports=standard, ir_version=graph.ir_version)
    for name, value in zip(wanted, ReferenceEvaluator(model).run(wanted, {}), strict=True):
        graph.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    gone = set(wanted)
    kept = [node for node in graph.graph.node if not gone & set(node.output)]
    del graph.graph.node[:]
    graph.graph.node.extend(kept)


def run_on_references(graph: onnx.ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """All outputs of a graph with plugins, each computed by its operator on the CPU; slow."""
    # ONNX's evaluator would sum in bf16 too, which no engine does
    evaluator = ReferenceEvaluator(emulate_bf16(graph), new_ops=[_reference(name) for name in PACKED])
    names = [each.name for each in graph.graph.output]
    return dict(zip(names, evaluator.run(names, dict(inputs)), strict=True))


def _reference(name: str) -> type[OpRun]:
    known, operator = PACKED[name], getattr(packed, f"packed_{name}")

    def _run(self: OpRun, *inputs: Array, **attributes: Any) -> tuple[Array, ...]:
        given = [kind(attributes[key]) for key, kind in known.attributes.items()]
        made = operator(*(_tensor(each) for each in inputs), *given)
        results = (made,) if isinstance(made, Tensor) else made
        scratch = (np.zeros(0, np.float32),) if name == "residual_block" else ()
        return tuple(_array(each) for each in results) + scratch

    members = {"op_domain": NAMESPACE, "_run": _run} | dict.fromkeys((*known.attributes, *EXTRA))
    return type(f"packed_{name}", (OpRun,), members)


def _tensor(array: Array) -> Tensor:
    copy = np.array(array)
    return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16) if copy.dtype == BF16 else torch.from_numpy(copy)


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.view(torch.int16).numpy().view(BF16) if tensor.dtype == torch.bfloat16 else tensor.numpy()
    return array


BF16: Final = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)  # NumPy and PyTorch share but the bits
EXTRA: Final = ("plugin_namespace", "plugin_version", "aot")
