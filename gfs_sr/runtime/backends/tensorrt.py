"""TensorRT: engines built on the user's GPU."""

from collections.abc import Mapping

from gfs_sr.errors import BackendNotInstalled
from gfs_sr.runtime.backends.base import Array, Backend

INSTALL = (
    "on a machine with an NVIDIA GPU: `pip install tensorrt` (it fetches NVIDIA's libraries from NVIDIA's own index), "
    "then build an engine there by `python -m export.trt --ckpt C.ckpt`; or use --backend onnxruntime"
)


class TensorRtBackend(Backend):
    """Refuses by name: running an engine is not offered yet, building one is (`export.trt`)."""

    name = "tensorrt"

    @property
    def provider(self) -> str:
        """The device that computes."""
        return "TensorRT"

    def _activate(self) -> None:
        raise BackendNotInstalled("TensorRT cannot run engines here", "--backend tensorrt", INSTALL)

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise NotImplementedError

    def _deactivate(self) -> None:
        pass
