"""The packed operators as quick-deploy plugins of TensorRT: the kernel's PTX becomes a part of the engine.

An ahead-of-time plugin is asked for its kernel while the engine is built and never afterwards: an engine runs where
neither this module nor Triton is. Written against `tensorrt.plugin` of TensorRT 11, whose Python part a test runs; it
has not run on a real TensorRT yet.
"""

# mypy: disable-error-code="untyped-decorator"
# (the decorators of tensorrt.plugin carry no types)

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

from gfs_sr.errors import BackendFailed, BackendNotInstalled
from gfs_sr.kernels.between_frames import between_frames_kernel
from gfs_sr.kernels.between_frames import launch as launch_between_frames
from gfs_sr.kernels.compile import WARP, compile_ahead
from gfs_sr.kernels.conv_shuffle import conv_shuffle_kernel
from gfs_sr.kernels.conv_shuffle import launch as launch_conv_shuffle
from gfs_sr.kernels.launch import Launch, Precision, Tuning, architecture, padded, parameters, tuning
from gfs_sr.kernels.operators import NAMESPACE
from gfs_sr.kernels.packed import PACKED, Attributes, Shape
from gfs_sr.kernels.residual_block import launch as launch_residual_block
from gfs_sr.kernels.residual_block import programs_on, residual_block_kernel, scratch_size
from gfs_sr.kernels.temporal_stack import launch as launch_temporal_stack
from gfs_sr.kernels.temporal_stack import temporal_stack_kernel

KERNELS: Final[Mapping[str, Any]] = {
    "temporal_stack": temporal_stack_kernel,
    "between_frames": between_frames_kernel,
    "conv_shuffle": conv_shuffle_kernel,
    "conv_shuffle_fine": conv_shuffle_kernel,
    "residual_block": residual_block_kernel,
}
PRODUCTS: Final[Mapping[str, Precision]] = {"fp32": "ieee", "bf16": "bf16", "fp16": "fp16"}
WEIGHTS: Final = {"temporal_stack": 1, "between_frames": 3, "residual_block": 1}  # the input that says the precision
SCRATCH: Final = "residual_block"  # its second result is memory of its programs


def plugin_launch(name: str, shapes: Sequence[Shape], given: Attributes, sizes: Tuning, programs: int) -> Launch:
    """How the kernel of one packed operator is started on inputs of `shapes`, of numbers or expressions."""
    if name == "temporal_stack":
        (batch, _, _, pixels), *packed = shapes
        look = PACKED[name].outputs(shapes, given)[0][1]
        return launch_temporal_stack(batch, look, pixels, given["channels"], packed, given["planes"], sizes)
    if name == "between_frames":
        pair, _, sun, *packed = shapes
        return launch_between_frames(
            pair, sun[2], given["width"], packed, given["rays"], given["extra"], lying=False, tuning=sizes
        )
    images, height, width, _ = shapes[0]
    if name == "residual_block":
        return launch_residual_block(
            images, height - 4, width - 4, given["features"], shapes[1][1], given["scale"], programs, sizes
        )
    rim, finish = given["size"] - 1, name == "conv_shuffle_fine"
    return launch_conv_shuffle(
        images, height - rim, width - rim, given["features"], shapes[1], given["planes"], given["scale_factor"],
        given["base_size"] if finish else 1, finish, sizes,
    )  # fmt: skip


def compile_plugin(name: str, launch: Launch, kinds: Sequence[str], arch: str, sizes: Tuning) -> Any:
    """The kernel for inputs and results of `kinds`, such as `bf16`, in the plugin's order.

    Raises:
        BackendFailed: it needs memory at its start that TensorRT would not give.
    """
    kernel = KERNELS[name]
    scalars = passed(launch)
    fixed = {key: value for key, value in launch.scalars.items() if key not in scalars}
    pointers = [each for each in parameters(kernel, launch) if each not in launch.scalars]
    types = {each: f"*{kind}" for each, kind in zip(pointers, kinds, strict=True)} | dict.fromkeys(scalars, "i32")
    compiled = compile_ahead(
        kernel, types, {**launch.constants, **fixed}, PRODUCTS[kinds[WEIGHTS.get(name, 1)]], arch, sizes
    )
    needs = compiled.metadata.global_scratch_size + compiled.metadata.profile_scratch_size
    if needs or compiled.metadata.num_ctas != 1:
        raise BackendFailed(f"{name} needs {needs} bytes beside its arguments", arch, "export without --plugins")
    return compiled


def passed(launch: Launch) -> list[str]:
    """Scalars that the kernel is given when it runs; a 1 is compiled in, as Triton does by itself."""
    return [key for key, value in launch.scalars.items() if not (isinstance(value, int) and value == 1)]


def register_plugins(arch: str | None = None, programs: int | None = None) -> None:
    """Make the packed operators known to TensorRT, once a process.

    Args:
        arch: `sm_90`; None: of the first GPU.
        programs: of the residual block; None: as many as the first GPU runs at once.

    Raises:
        BackendNotInstalled: this TensorRT is absent, or too old for plugins that are compiled ahead.
    """
    try:
        import tensorrt as trt
    except ImportError as error:
        raise BackendNotInstalled("TensorRT is not installed", "--plugins", "pip install tensorrt") from error
    if not hasattr(trt, "QuickPluginCreationRequest"):
        raise BackendNotInstalled(
            f"TensorRT {trt.__version__} has no plugins that are compiled ahead", "--plugins",
            "pip install 'tensorrt>=10.9', or leave --plugins out",
        )  # fmt: skip
    from tensorrt.plugin._lib import QDP_REGISTRY

    device = torch.device("cuda")
    for name in PACKED:
        if f"{NAMESPACE}::packed_{name}" not in QDP_REGISTRY:
            _register(name, arch or architecture(device), programs or programs_on(device))


def _register(name: str, arch: str, programs: int) -> None:
    import tensorrt as trt
    import tensorrt.plugin as trtp

    known, plugin = PACKED[name], f"{NAMESPACE}::packed_{name}"
    results = 2 if name in ("between_frames", SCRATCH) else 1
    kinds = {trt.DataType.FLOAT: "fp32", trt.DataType.HALF: "fp16", trt.DataType.BF16: "bf16"}

    def sizes_of(inputs: Sequence[Any]) -> Tuning:
        return tuning(name, PRODUCTS[kinds[inputs[WEIGHTS.get(name, 1)].dtype]], arch)

    def split(given: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        count = len(known.inputs)
        return given[:count], dict(zip(known.attributes, given[count:], strict=False))

    def describe(*inputs: Any, **attributes: Any) -> Any:
        shapes = [tuple(each.shape_expr) for each in inputs]
        made = [
            trtp.from_shape_expr(shape, inputs[known.typed_by].dtype) for shape in known.outputs(shapes, attributes)
        ]
        if name == SCRATCH:
            scratch = scratch_size(programs, padded(attributes["features"]), sizes_of(inputs))
            made.append(trtp.from_shape_expr((scratch,), inputs[1].dtype))
        return made[0] if results == 1 else tuple(made)

    def build(*given: Any) -> Any:
        *described, outputs, _ = given
        inputs, attributes = split(described)
        shapes = [
            [int(size) if size >= 0 else later for size, later in zip(each.shape, each.shape_expr, strict=True)]
            for each in inputs
        ]
        sizes = sizes_of(inputs)
        launch = plugin_launch(name, shapes, attributes, sizes, programs)
        compiled = compile_plugin(name, launch, [kinds[each.dtype] for each in (*inputs, *outputs)], arch, sizes)
        started = trtp.KernelLaunchParams(
            *launch.grid, block_x=compiled.metadata.num_warps * WARP, shared_mem=compiled.metadata.shared
        )
        scalars = trtp.SymIntExprs.from_tuple([trtp.SymInt32(launch.scalars[key]) for key in passed(launch)])
        return compiled.metadata.name, compiled.asm["ptx"], started, scalars

    kept = [(key, trtp.TensorDesc) for key in known.inputs] + list(known.attributes.items())
    result = trtp.TensorDesc if results == 1 else tuple[(trtp.TensorDesc,) * results]  # type: ignore[misc]
    _sign(describe, kept, result)
    handed = tuple[str, str, trtp.KernelLaunchParams, trtp.SymIntExprs]
    _sign(build, [*kept, ("outputs", tuple[trtp.TensorDesc]), ("tactic", int)], handed)
    trtp.register(plugin)(describe)
    trtp.aot_impl(plugin)(build)


def _sign(function: Any, parameters: Sequence[tuple[str, Any]], result: Any) -> None:
    """TensorRT reads names and types of a plugin off its functions."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, annotation=each) for name, each in parameters], return_annotation=result
    )
