"""OpenVINO: its CPU device, compiled for one tile shape at a time."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from gfs_sr.errors import BackendNotInstalled, ProviderMismatch
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Backend, Precision

DEVICE: Final = "CPU"
MOST_SHAPES: Final = 4  # compiled at a time: a job has one shape, and a smaller one where its last batch is not full


class OpenVinoBackend(Backend):
    """Runs a graph on OpenVINO's CPU device.

    Every shape is compiled on its own, in about half a second: with the shapes left open OpenVINO 2026.4 gives wrong
    fields for `fused`, by tens of standard deviations and without a word.
    """

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
        self._core: Any = None
        self._model: Any = None
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    @property
    def provider(self) -> str:
        """The device that computes."""
        if not self._requests:
            return DEVICE
        request = next(iter(self._requests.values()))
        return str(request.get_compiled_model().get_property("EXECUTION_DEVICES")[0])

    def _activate(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendNotInstalled(
                "OpenVINO is not installed", "--backend openvino", "pip install 'gfs-sr[openvino]'"
            ) from error
        self._core = openvino.Core()
        self._model = self._core.read_model(str(self.artifact.graph(self.role)))

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        shapes = tuple(inputs[name].shape for name in self.signature.inputs)
        request = self._requests.pop(shapes, None)
        if request is None:
            request = self._compile({name: array.shape for name, array in inputs.items()})
            if len(self._requests) == MOST_SHAPES:
                self._requests.popitem(last=False)
        self._requests[shapes] = request  # the last one used comes last
        result = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {name: result[name] for name in self.signature.outputs}

    def _compile(self, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        import openvino

        model = self._model.clone()
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        model = self._rewritten(model)
        settings: dict[str, Any] = {
            # left alone it computes everything in bf16 where the processor can, the interpolation included; tensors
            # that the graph itself declares as bf16 stay so
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            # threads that gather, scatter and convolve beside it would be tied to the one core of the thread that calls
            "ENABLE_CPU_PINNING": False,
        }
        if self.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.threads
        compiled = self._core.compile_model(model, DEVICE, settings)
        running = compiled.get_property("INFERENCE_PRECISION_HINT")
        devices = list(compiled.get_property("EXECUTION_DEVICES"))
        if running != openvino.Type.f32 or devices != [DEVICE]:
            raise ProviderMismatch(
                f"f32 on {DEVICE} was asked for, but OpenVINO would compute in {running} on {', '.join(devices)}",
                str(self.artifact.path),
                "use --backend onnxruntime",
            )
        return compiled.create_infer_request()

    def _rewritten(self, model: Any) -> Any:
        """The model of one shape as it is to be compiled."""
        return model

    def _deactivate(self) -> None:
        self._requests.clear()
        self._model = self._core = None
