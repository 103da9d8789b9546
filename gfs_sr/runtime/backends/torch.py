"""PyTorch on the CPU: rebuilds the network from the manifest, and is the reference of every other engine."""

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
        except ImportError as error:
            raise BackendNotInstalled(
                "PyTorch is not installed",
                "--backend torch",
                "pip install 'gfs-sr[train]', or use --backend onnxruntime",
            ) from error
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        self._model = load_network(self.artifact, self.role).eval()

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


def load_network(artifact: Artifact, role: str) -> "nn.Module":
    """The network of a role, with the artifact's weights.

    Raises:
        ArtifactFileMissing: the family has none for that role.
    """
    from safetensors.torch import load_file

    from gfs_sr import models

    model = models.build(artifact.manifest.config)
    model.load_state_dict(load_file(artifact.weights))
    networks = model.graphs()
    if role not in networks:
        raise ArtifactFileMissing(
            f"{artifact.contract.family} has no network for the role {role}",
            str(artifact.path),
            f"it has: {', '.join(networks)}",
        )
    return networks[role]
