"""Artifacts with weights and no graph, for engines that build the network themselves; made without ONNX."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from gfs_sr import models
from gfs_sr.runtime.artifact import Artifact, publish_artifact, write_manifest
from tests.models.networks import shake


def published_weights(folder: Path, config: Mapping[str, object], std: float = 0.1) -> Artifact:
    """Of a network whose every weight is random."""
    model = shake(models.build(config), std)
    with publish_artifact(folder) as draft:
        save_file({name: each.contiguous() for name, each in model.state_dict().items()}, draft / "weights.safetensors")
        contract = model.make_contract(name="small")
        write_manifest(
            draft,
            contract=contract,
            config=model.config,
            parameters=model.parameters_count,
            flops_per_fine_cell=model.flops_per_fine_cell,
        )
    return Artifact.open(folder)
