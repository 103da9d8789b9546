"""The models that come with the package, as `gfs-sr models` lists them."""

import warnings
from typing import Any

from gfs_sr.errors import NegativeSkillWarning
from gfs_sr.runtime.artifact import Artifact, bundled_aliases, list_bundled
from gfs_sr.runtime.upscaler import sides


def bundled_models() -> list[dict[str, Any]]:
    """One object per bundled artifact."""
    defaults = set(bundled_aliases().values())
    rows = []
    for name in list_bundled():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegativeSkillWarning)  # said where the model is opened to be used
            artifact = Artifact.open(name)
        contract = artifact.contract
        rows.append(
            {
                "name": name,
                "family": contract.family,
                "path": str(artifact.path),
                "default": name in defaults,
                "stochastic": contract.stochastic,
                "parameters": artifact.manifest.parameters,
                "flops_per_fine_cell": artifact.manifest.flops_per_fine_cell,
                "receptive_field": sides(contract.halo),
                "step_field": None if contract.denoising is None else sides(contract.denoising.halo),
                "registration": str(contract.registration),
            }
        )
    return rows
