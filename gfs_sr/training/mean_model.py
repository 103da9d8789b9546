"""The network that a diffusion is drawn around: of an artifact, a bundled model, or a checkpoint."""

from pathlib import Path

from safetensors.torch import load_file

from gfs_sr import models
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.model import Model
from gfs_sr.runtime.artifact import Artifact


def open_mean(path: Path) -> Model:
    """With its weights, for frames on their own where it knows those.

    Raises:
        ArtifactError: neither a checkpoint nor an artifact.
        CheckpointInvalid: a checkpoint that cannot be read.
    """
    if path.suffix == ".ckpt":
        network = load_checkpoint(path).model()
    else:
        artifact = Artifact.open(path)
        network = models.build(artifact.manifest.config)
        network.load_state_dict(load_file(artifact.weights))
    return (network.for_frames() or network).eval()
