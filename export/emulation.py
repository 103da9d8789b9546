"""A bf16 graph for engines that cannot compute in bf16: the same roundings, computed in fp32."""

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from export.parity import Engine
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.onnxruntime import CPU, OnnxRuntimeBackend


@contextmanager
def by_onnxruntime(artifact: Artifact, role: str = MODEL) -> Iterator[Engine]:
    """Within, a graph as ONNX Runtime computes it on the CPU: by the backend that users run; bf16 emulated."""
    if artifact.contract.precision == "bf16":
        emulated = emulate_bf16(onnx.load(artifact.graph(role))).SerializeToString()
        session = ort.InferenceSession(emulated, providers=[CPU])
        yield lambda inputs: session.run(["fine"], dict(inputs))[0]
    else:
        with OnnxRuntimeBackend(artifact, role=role) as backend:
            yield lambda inputs: backend.infer(inputs)["fine"]


def emulate_bf16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Every operator computes in fp32 and rounds its outputs to bf16: what tensor cores with fp32 sums do.

    ONNX Runtime has no bf16 convolution on the CPU (1.32), but it has the casts. Operators of other domains than ONNX's
    stay as they are.
    """
    emulated = onnx.shape_inference.infer_shapes(graph)
    body = emulated.graph
    lowered = {each.name for each in body.initializer if each.data_type == TensorProto.BFLOAT16}
    for value in (*body.input, *body.value_info, *body.output):
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            lowered.add(value.name)
    nodes: list[onnx.NodeProto] = []
    raised: set[str] = set()
    for node in body.node:
        if node.op_type == "Cast" or node.domain:
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            if name in lowered:
                if name not in raised:
                    nodes.append(helper.make_node("Cast", [name], [f"{name}/fp32"], to=TensorProto.FLOAT))
                    raised.add(name)
                node.input[index] = f"{name}/fp32"
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in lowered:
                node.output[index] = f"{name}/wide"
                nodes.append(helper.make_node("Cast", [f"{name}/wide"], [name], to=TensorProto.BFLOAT16))
    del body.node[:]
    body.node.extend(nodes)
    del body.value_info[:]
    return emulated
