"""OpenVINO: the faster engine on most CPUs."""

from collections.abc import Mapping
from typing import Any

from gfs_sr.errors import BackendNotInstalled, ProviderMismatch
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Backend, Precision


class OpenVinoBackend(Backend):
    """Runs `graphs/model.onnx` on OpenVINO's CPU device."""

    name = "openvino"

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
    ) -> None:
        super().__init__(artifact, precision=precision, threads=threads, role=role)
        self._request: Any = None

    @property
    def provider(self) -> str:
        """The device that computes."""
        if self._request is None:
            return "CPU"
        return str(self._request.get_compiled_model().get_property("EXECUTION_DEVICES")[0])

    def _activate(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendNotInstalled(
                "OpenVINO is not installed", "--backend openvino", "pip install 'gfs-sr[openvino]'"
            ) from error
        settings: dict[str, Any] = {
            # left alone it computes everything in bf16 where the processor can, the interpolation included
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        compiled = openvino.Core().compile_model(str(self.artifact.graph(self.role)), "CPU", settings)
        running = compiled.get_property("INFERENCE_PRECISION_HINT")
        if running != openvino.Type.f32:
            raise ProviderMismatch(
                f"f32 was asked for, but OpenVINO would compute in {running}",
                str(self.artifact.path),
                "use --backend onnxruntime",
            )
        self._request = compiled.create_infer_request()

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        result = self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {"fine": result["fine"]}

    def _deactivate(self) -> None:
        self._request = None
