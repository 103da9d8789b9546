"""PyTorch: rebuilds the network from the manifest; the only module of the runtime that may import torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gfs_sr.errors import ArtifactFileMissing, BackendNotInstalled
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Backend, Precision

if TYPE_CHECKING:
    from torch import nn


class TorchBackend(Backend):
    """Runs the network itself, eagerly, on the CPU."""

    name = "torch"

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
    ) -> None:
        super().__init__(artifact, precision=precision, threads=threads, role=role)
        self._model: nn.Module | None = None

    @classmethod
    def _computes(cls, artifact: Artifact) -> Precision:
        return "fp32"  # the weights are stored so, whatever the graph was exported in

    @property
    def provider(self) -> str:
        """The device that computes."""
        return "cpu"

    def _activate(self) -> None:
        try:
            import torch
            from safetensors.torch import load_file
        except ImportError as error:
            raise BackendNotInstalled(
                "PyTorch is not installed",
                "--backend torch",
                "pip install 'gfs-sr[train]', or use --backend onnxruntime",
            ) from error
        from gfs_sr import models

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        model = models.build(self.artifact.manifest.config)
        model.load_state_dict(load_file(self.artifact.weights))
        network = model.graphs().get(self.role)
        if network is None:
            raise ArtifactFileMissing(
                f"{self.contract.family} has no network for the role {self.role}",
                str(self.artifact.path),
                f"it has: {', '.join(model.graphs())}",
            )
        self._model = network.eval()

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        import torch

        assert self._model is not None  # `infer` has checked that the backend is active
        # torch warns of arrays it might write to; a copy is made of read-only ones alone
        owned = {name: np.require(array, requirements=["C", "W"]) for name, array in inputs.items()}
        with torch.inference_mode():
            given = self._model(**{name: torch.from_numpy(array) for name, array in owned.items()})
        results = given if isinstance(given, tuple) else (given,)
        return {name: each.numpy() for name, each in zip(self.signature.outputs, results, strict=True)}

    def _deactivate(self) -> None:
        self._model = None
