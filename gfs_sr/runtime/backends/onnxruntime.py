"""ONNX Runtime: the engine of the plain install."""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gfs_sr.errors import BackendNotInstalled, ProviderMismatch
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Backend, Precision

CPU = "CPUExecutionProvider"
_SAME_AS_REQUESTED = 1  # arena extension strategy: the default doubles, so a large tile holds up to twice its need


class OnnxRuntimeBackend(Backend):
    """Runs `graphs/model.onnx` on the provider asked for, and on no other."""

    name = "onnxruntime"

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
        provider: str = CPU,
    ) -> None:
        super().__init__(artifact, precision=precision, threads=threads, role=role)
        self._asked = provider
        self._session: Any = None
        self._binding: Any = None
        self._results: dict[str, Array] = {}

    @property
    def provider(self) -> str:
        """The execution provider that runs the graph."""
        return self._asked if self._session is None else str(self._session.get_providers()[0])

    def _activate(self) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise BackendNotInstalled(
                "ONNX Runtime is not installed", "--backend onnxruntime", "pip install onnxruntime"
            ) from error
        if self.precision == "bf16" and self._asked == CPU:
            raise BackendNotInstalled(
                "ONNX Runtime computes no bf16 convolution on the CPU",
                str(self.artifact.path),
                "use --backend openvino or torch, or export the checkpoint with --precision fp32",
            )
        _register_arena()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads or 0
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_mem_pattern = True  # every tile has one shape: its buffers are planned once
        options.log_severity_level = 3  # errors; a provider that was not taken is found below
        options.add_session_config_entry("session.use_env_allocators", "1")
        # reading and scattering want the cores while the session waits for its next batch
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = str(self.artifact.graph(self.role))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "provider not available": checked below
            session = ort.InferenceSession(graph, options, providers=[self._asked])
        # a session for an absent provider is made on the CPU, with no more than a line on stderr
        running = session.get_providers()[0]
        if running != self._asked:
            raise ProviderMismatch(
                f"{self._asked} was asked for, but {running} would run",
                str(self.artifact.path),
                f"this ONNX Runtime has {', '.join(ort.get_available_providers())}; "
                "install onnxruntime-gpu and the CUDA libraries it names, or use the CPU",
            )
        self._session, self._binding = session, session.io_binding()

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        for name, shape in self.signature.check(inputs).items():
            if name not in self._results or self._results[name].shape != shape:
                self._results[name] = np.empty(shape, np.float32)  # one tile shape: one buffer for the whole of a job
        self._binding.clear_binding_inputs()  # or each of them keeps its array
        for name, array in inputs.items():
            self._binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name, result in self._results.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, result.shape, result.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        return self._results

    def _deactivate(self) -> None:
        self._session = self._binding = None
        self._results = {}


@cache
def _register_arena() -> None:
    """Give all sessions of this process one CPU arena that grows by what is asked for, not by doubling."""
    import onnxruntime as ort

    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    arena = ort.OrtArenaCfg({"arena_extend_strategy": _SAME_AS_REQUESTED})
    ort.create_and_register_allocator(memory, arena)
