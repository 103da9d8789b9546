"""The engines by name; a module is imported when its engine is asked for."""

from importlib import import_module
from typing import Any, Final

from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Backend, Precision

BACKENDS: Final = {  # name -> module and class
    "torch": ("gfs_sr.runtime.backends.torch", "TorchBackend"),
    "torch-cuda": ("gfs_sr.runtime.backends.torch_device", "TorchCudaBackend"),
    "torch-compile": ("gfs_sr.runtime.backends.torch_device", "TorchCompileBackend"),
    "aotinductor": ("gfs_sr.runtime.backends.torch_device", "AotInductorBackend"),
    "onnxruntime": ("gfs_sr.runtime.backends.onnxruntime", "OnnxRuntimeBackend"),
    "onnxruntime-cuda": ("gfs_sr.runtime.backends.onnxruntime_gpu", "CudaBackend"),
    "onnxruntime-tensorrt": ("gfs_sr.runtime.backends.onnxruntime_gpu", "TensorRtProviderBackend"),
    "openvino": ("gfs_sr.runtime.backends.openvino", "OpenVinoBackend"),
    "openvino-winograd": ("gfs_sr.runtime.backends.openvino_winograd", "OpenVinoWinogradBackend"),
    "tensorrt": ("gfs_sr.runtime.backends.tensorrt", "TensorRtBackend"),
}


def make_backend(
    name: str,
    artifact: Artifact,
    *,
    precision: Precision | None = None,
    threads: int | None = None,
    role: str = MODEL,
    **options: Any,
) -> Backend:
    """The engine of that name, not yet active; `options` are its own.

    Raises:
        UsageError: a precision or number of threads that cannot be.
    """
    module, kind = BACKENDS[name]
    backend: Backend = getattr(import_module(module), kind)(
        artifact, precision=precision, threads=threads, role=role, **options
    )
    return backend
