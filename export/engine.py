"""Building a TensorRT engine. Written against the interfaces of TensorRT 10 and 11; it has not run on a real one yet.

Networks are strongly typed in both versions: the precision is that of the graph's own tensors. TensorRT 11 has no
other way (its BuilderFlag has no FP16), and in 10 it keeps the interpolation in fp32 without a list of layers.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from export.profiles import Profile, Shapes
from gfs_sr.atomic import write_bytes
from gfs_sr.errors import BackendFailed, BackendNotInstalled
from gfs_sr.kernels.digest import kernels_digest
from gfs_sr.kernels.operators import NAMESPACE
from gfs_sr.runtime.artifact import ENGINES, MODEL, PLUGINS, Artifact, digest
from gfs_sr.runtime.backends.base import Array
from gfs_sr.runtime.engines import INSTALL, Device, Sidecar, engine_name, this_device


def build_engine(
    graph: Path, profile: Profile, timing_cache: Path | None, *, plugins: bool = False
) -> tuple[bytes, Device]:
    """The serialized engine of an ONNX file, with our kernels in it where `plugins`, and the device it will run on.

    Raises:
        BackendNotInstalled: there is no TensorRT, or no GPU.
        BackendFailed: TensorRT refused the graph or could not build.
    """
    try:
        import tensorrt as trt
    except ImportError as error:
        raise BackendNotInstalled(
            "TensorRT is not installed; the artifact was published without an engine", str(graph.parent.parent), INSTALL
        ) from error
    device = this_device(str(trt.__version__))
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    if plugins:
        try:
            from gfs_sr.kernels.tensorrt_plugins import register_plugins
        except ImportError as error:
            raise BackendNotInstalled(f"{error.name} is not installed", "--plugins", "pip install triton") from error
        register_plugins()
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BackendFailed(f"TensorRT cannot read the graph: {reasons}", str(graph), "use --backend onnxruntime")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # 10 mantissa bits would pass for fp32 otherwise
    config.add_optimization_profile(_optimization_profile(builder, profile))
    cache = _load_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendFailed(
            "TensorRT could not build the engine; its own messages stand above",
            str(graph),
            "try a smaller --tile or --batch: the GPU's memory may not hold the largest",
        )
    if timing_cache is not None:
        write_bytes(timing_cache, bytes(cache.serialize()), shared=True)
    return bytes(plan), device


def write_engine(
    artifact: Artifact,
    plan: bytes,
    device: Device,
    folder: Path | None = None,
    *,
    plugins: bool = False,
    role: str = MODEL,
) -> Path:
    """Put the engine of a graph and its sidecar into the artifact, or into `folder` while it is on trial.

    The sidecar comes last, and without it an engine is refused.
    """
    folder = artifact.path / ENGINES if folder is None else folder
    precision = artifact.contract.precision
    engine = folder / engine_name(precision, device.compute_capability, role)
    Sidecar.path_of(engine).unlink(missing_ok=True)
    write_bytes(engine, plan, shared=True)
    graph = PLUGINS if plugins else role
    sidecar = Sidecar(
        engine_sha256=digest(engine),
        graph_sha256=artifact.manifest.files[f"graphs/{graph}.onnx"].sha256,
        precision=precision,
        device=device,
        kernels_sha256=kernels_digest() if plugins else "",
        role=role,
    )
    write_bytes(Sidecar.path_of(engine), sidecar.model_dump_json(indent=1).encode(), shared=True)
    return engine


def run_graph(graph: onnx.ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """All outputs of `graph` for `inputs`, by an engine of those shapes that lives for this one run.

    Raises:
        BackendNotInstalled: there is no TensorRT, no GPU, or no PyTorch for its memory.
        BackendFailed: TensorRT refused the graph.
    """
    from gfs_sr.runtime.backends.tensorrt import run_plan

    shapes = {name: Shapes(min=array.shape, opt=array.shape, max=array.shape) for name, array in inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph, path)
        profile = Profile(tile=(1, 1, 1), batch=(1, 1, 1), inputs=shapes)
        plugins = any(node.domain == NAMESPACE for node in graph.graph.node)
        plan, _ = build_engine(path, profile, None, plugins=plugins)
    return run_plan(plan, inputs)


def _optimization_profile(builder: Any, profile: Profile) -> Any:
    built = builder.create_optimization_profile()
    for name, shapes in profile.inputs.items():
        built.set_shape(name, min=shapes.min, opt=shapes.opt, max=shapes.max)
    return built


def _load_cache(config: Any, path: Path | None) -> Any:
    known = path.read_bytes() if path is not None and path.is_file() else b""
    cache = config.create_timing_cache(known)
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache
