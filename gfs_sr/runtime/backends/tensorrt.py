"""TensorRT: engines built on the user's GPU."""

from collections.abc import Mapping

from gfs_sr.errors import BackendNotInstalled
from gfs_sr.runtime.backends.base import Array, Backend

INSTALL = (
    "on a machine with an NVIDIA GPU: pip install tensorrt --extra-index-url from NVIDIA's install guide, "
    "then `python -m export.trt --ckpt C.ckpt` there; or use --backend onnxruntime"
)


class TensorRtBackend(Backend):
    """Refuses by name: this version builds no engines."""

    name = "tensorrt"

    @property
    def provider(self) -> str:
        """The device that computes."""
        return "TensorRT"

    def _activate(self) -> None:
        raise BackendNotInstalled("TensorRT is not installed", "--backend tensorrt", INSTALL)

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise NotImplementedError

    def _deactivate(self) -> None:
        pass
