"""OpenVINO with its 3×3 and 5×5 convolutions computed by our own: a fraction of the multiplications (Winograd).

A convolution of the plain kind already runs at nine tenths of what a processor multiplies at most, so that nothing but
fewer multiplications makes a deep trunk faster. What turns one field into many is ours too, and stays as it lies.
"""

from typing import Any

from gfs_sr.errors import UsageError
from gfs_sr.runtime.backends.openvino import OpenVinoBackend


class OpenVinoWinogradBackend(OpenVinoBackend):
    """`openvino`, its 3×3 and 5×5 convolutions of many channels, and those of one into many, replaced; fp32."""

    name = "openvino-winograd"

    def _activate(self) -> None:
        if self.precision != "fp32":
            raise UsageError(
                f"our convolution computes in fp32, not in {self.precision}", f"--backend {self.name}",
                "use --backend openvino"
            )  # fmt: skip
        super()._activate()

    def _rewritten(self, model: Any) -> Any:
        # it needs OpenVINO to be there, which `_activate` has seen
        from gfs_sr.runtime.backends.stencil_node import replace_stencils
        from gfs_sr.runtime.backends.winograd_nodes import replace_convolutions

        replace_convolutions(model, self.threads or 0)
        replace_stencils(model, self.threads or 0)
        return model
