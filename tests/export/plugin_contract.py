"""Run by test_plugins: our plugins within TensorRT's own Python, over null libraries and a scripted registry."""

import json
import re
import sys
from typing import Any

import tensorrt_bindings as trt
import torch

from gfs_sr.kernels import packed
from gfs_sr.kernels.launch import tuning
from tests.kernels.specimens import CASES, arguments

ARCH, PROGRAMS = "sm_90", 7
PRODUCT = re.compile(r"(?:wgmma\.mma_async|mma)\.sync\.aligned\.m\d+n\d+k\d+\.(?:row\.col\.)?([\w.]+)")  # its types
OPERATIONS = {"SUM": int.__add__, "SUB": int.__sub__, "PROD": int.__mul__, "FLOOR_DIV": int.__floordiv__}


class Expression:
    """What TensorRT knows only once a shape is given; here it is known all along."""

    def __init__(self, value: int) -> None:
        self.value = value


class Builder:
    def constant(self, value: int) -> Expression:
        return Expression(value)

    def operation(self, operation: Any, one: Expression, other: Expression) -> Expression:
        return Expression(OPERATIONS[operation.name](one.value, other.value))


class Registry:
    def __init__(self) -> None:
        self.creators: list[Any] = []

    def register_creator(self, creator: Any, namespace: str) -> bool:
        assert namespace == "gfs_sr"
        self.creators.append(creator)
        return True

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        return self.creators[-1]


def plugin_module() -> Any:
    """`tensorrt.plugin` of the bindings under its own name."""
    registry = Registry()
    trt.get_plugin_registry = lambda: registry
    trt.IDimensionExpr = Expression
    sys.modules["tensorrt"] = trt
    import tensorrt_bindings.plugin as trtp

    for name, module in [*sys.modules.items()]:
        if name.startswith("tensorrt_bindings.plugin"):
            sys.modules[name.replace("tensorrt_bindings", "tensorrt")] = module
    trt.plugin = trtp
    return trtp


def described(trtp: Any, kind: Any, shape: Any, *, dynamic: bool) -> Any:
    made = trtp.TensorDesc(trtp.ShapeExprs.from_tuple(tuple(trtp.ShapeExpr(Expression(n)) for n in shape)), kind)
    made.shape = trtp.Shape(tuple(-1 if dynamic else n for n in shape))
    return made


def recorded(name: str, given: list[Any], precision: str) -> tuple[list[Any], list[torch.Tensor]]:
    """What the packed operator of `name` is called with, and what it gives."""
    seen: dict[str, Any] = {}
    own = getattr(packed, f"packed_{name}")

    def spy(*called: Any) -> Any:
        seen["called"], seen["made"] = list(called), own(*called)
        return seen["made"]

    setattr(packed, f"packed_{name}", spy)
    getattr(packed, name)(*given, precision)
    setattr(packed, f"packed_{name}", own)
    made = seen["made"]
    return seen["called"], list(made) if isinstance(made, tuple) else [made]


def launched(name: str, called: list[Any], precision: Any) -> dict[str, Any]:
    """Grid and scalars with which PyTorch would start the kernel."""
    from gfs_sr.kernels import tensorrt_plugins as plugins

    known = packed.PACKED[name]
    shapes = [each.shape for each in called[: len(known.inputs)]]
    attributes = dict(zip(known.attributes, called[len(known.inputs) :], strict=True))
    sizes = tuning(name, precision, ARCH)
    launch = plugins.plugin_launch(name, shapes, attributes, sizes, PROGRAMS)
    return {
        "expected_grid": [int(each) for each in launch.grid],
        "expected_values": [int(each) for key, each in launch.scalars.items() if key != "along"],  # compiled in
        "expected_threads": 32 * sizes.warps,
    }


def main() -> None:
    trtp = plugin_module()
    from tensorrt.plugin._lib import QDP_REGISTRY
    from tensorrt.plugin._tensor import SymIntExpr

    from gfs_sr.kernels.tensorrt_plugins import register_plugins

    register_plugins(ARCH, PROGRAMS)
    register_plugins(ARCH, PROGRAMS)  # a second time changes nothing
    SymIntExpr._exprBuilder = Builder()
    kinds = {torch.float32: trt.DataType.FLOAT, torch.bfloat16: trt.DataType.BF16, torch.float16: trt.DataType.HALF}
    found = []
    for name, shape in dict(CASES).items():
        for precision, kind in (("ieee", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
            known = packed.PACKED[name]
            fixed = 3 if name == "conv_shuffle_fine" else 99  # from here on fp32
            given = [
                each.to(kind) if isinstance(each, torch.Tensor) and index < fixed else each
                for index, each in enumerate(arguments(name, shape))
            ]
            called, made = recorded(name, given, precision)
            count = len(known.inputs)
            tensors, attributes = called[:count], called[count:]
            weights = {index for index, each in enumerate(known.inputs) if index and each not in ("features", "sun")}
            inputs = [
                described(trtp, kinds[each.dtype], each.shape, dynamic=index not in weights or each.ndim > 3)
                for index, each in enumerate(tensors)
            ]
            plugin = QDP_REGISTRY[f"gfs_sr::packed_{name}"]
            outputs = plugin.register_func(*inputs, **dict(zip(known.attributes, attributes, strict=True)))
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            entry, ptx, started, scalars = plugin.aot_impl_func(*inputs, *attributes, outputs, 0)
            head = ptx[ptx.index(".entry") : ptx.index("{", ptx.index(".entry"))]
            body = ptx[ptx.index("{", ptx.index(".entry")) :]
            found.append(
                {
                    "plugin": name,
                    "precision": precision,
                    "kinds": [str(each.dtype).removeprefix("torch.") for each in tensors],
                    "products": sorted(set(PRODUCT.findall(body))),
                    "name": entry,
                    "entry": re.search(r"\.entry (\w+)", head)[1],
                    "target": re.search(r"\.target (\w+)", ptx)[1],
                    "parameters": re.findall(r"\.param \.(u32|u64|f32)", head),
                    "read": len(set(re.findall(r"_param_(\d+)\b", body))),
                    "inputs": count,
                    "scalars": len(scalars),
                    "outputs": len(outputs),
                    "shapes": [[each._expr.value for each in output.shape_expr] for output in outputs[: len(made)]],
                    "expected_shapes": [list(each.shape) for each in made],
                    "grid": [started.grid_x._expr.value, started.grid_y._expr.value, started.grid_z._expr.value],
                    "values": [each._expr.value for each in scalars],
                    "threads": started.block_x._expr.value,
                    **launched(name, called, precision),
                }
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
