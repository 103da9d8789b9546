"""A packaged recipe without one fold: trained by `gfs-sr train`'s own code, exported to artifacts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from export.offer import offer
from export.publication import publish
from gfs_sr.contract import Contract
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.training import main as training
from gfs_sr.training.field_set import FieldSet, read_packed

DIGITS = 12  # of digests in names and tables


@dataclass(frozen=True, eq=False)
class Recipe:
    """Configuration and data of one training."""

    configs: tuple[Path, ...]
    name: str  # of the model
    contract: Contract
    validation: tuple[str, ...]  # sources that the recipe itself holds out
    sets: tuple[FieldSet, ...]
    digest: str

    @classmethod
    def read(cls, configs: Sequence[Path], scratch: Path) -> "Recipe":
        """Of the configuration files of `gfs-sr train`, which must name a packed set.

        Raises:
            UsageError: a configuration that cannot be, or one without a packed set.
        """
        command = training.parse([*_config_arguments(configs), f"--output={scratch}"])
        data = command.datamodule
        if data.packed is None:
            raise UsageError("the recipe names no packed set", "data.packed", "pack one: gfs_sr.training.pack")
        sets, data_digest = read_packed(data.folder / data.packed)
        total = sha256(data_digest.encode())
        for path in configs:
            total.update(path.read_bytes())
        network = command.model.network
        contract = network.make_contract(name=command.model.offered_as)
        return cls(
            tuple(configs),
            command.model.offered_as,
            contract,
            tuple(data.validation),
            tuple(sets),
            total.hexdigest()[:DIGITS],
        )

    def folds(self) -> dict[str, tuple[str, ...]]:
        """Fold -> its sources, as the table of the packed set has them.

        Raises:
            UsageError: a source without a fold.
        """
        found: dict[str, list[str]] = {}
        for fields in self.sets:
            if "fold" not in fields.provenance:
                raise UsageError(
                    f"source {fields.source} has no fold", "data.packed", "pack it from a table that names folds"
                )
            names = found.setdefault(fields.provenance["fold"], [])
            if fields.source not in names:
                names.append(fields.source)
        return {fold: tuple(names) for fold, names in found.items()}


@dataclass(frozen=True, eq=False)
class Trained:
    """The artifacts of one fold, one per time factor, of the same weights."""

    artifacts: tuple[Path, ...]
    steps: int
    model: str  # digest of the first


def train_without(recipe: Recipe, sources: Sequence[str], folder: Path, time_factors: Sequence[int]) -> Trained:
    """Train without these sources, export; what is there already is not made again, a run cut short goes on.

    Every other source is trained on, those too that the recipe holds out to be validated on; without those the run is
    the recipe's own.
    """
    targets = tuple(folder / f"artifact-{r}" for r in time_factors)
    if not all(target.is_dir() for target in targets):
        run = folder / "run"
        arguments = [
            *_config_arguments(recipe.configs),
            f"--output={run}",
            f"--data.leave_out={json.dumps([each for each in sources if each not in recipe.validation])}",
            f"--data.validation={json.dumps([each for each in sources if each in recipe.validation])}",
        ]
        if (run / "last.ckpt").is_file():
            arguments.append("--ckpt_path=last")
        checkpoint = load_checkpoint(training.run(training.parse(arguments)))
        for r, target in zip(time_factors, targets, strict=True):
            publish(offer(checkpoint, None, r), target)
    first = Artifact.open(targets[0])
    return Trained(targets, int(first.manifest.provenance["steps"]), first.sha256[:DIGITS])


def _config_arguments(configs: Sequence[Path]) -> list[str]:
    return [part for path in configs for part in ("-c", str(path))]
