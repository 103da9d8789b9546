"""What a run plans to do, and whether a checkpoint is of the same plan: only then its whole state can be taken up."""

import json
import math
import pickle
import warnings
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import lightning as L
import torch

from gfs_sr.errors import CheckpointInvalid, MissingFile, UsageError
from gfs_sr.training.datamodule import TrainingData
from gfs_sr.training.optim import RATES, OptimizerConfig, learning_rate
from gfs_sr.training.supervised import Supervised

KEY: Final = "gfs_sr_run"  # of what a checkpoint of the Trainer holds for us
COMPARED: Final = 1000  # counts at which two schedules are compared, at most


@dataclass(frozen=True)
class Plan:
    """Optimizer, schedule and length of a run, and what else its weights follow from."""

    optimizer: OptimizerConfig
    steps: int  # of the optimizer, in the whole run
    epochs: int
    network: str  # JSON
    draws: str  # JSON; of what every sample and every step follows from

    @classmethod
    def of(cls, trainer: L.Trainer, model: Supervised, data: TrainingData) -> "Plan":
        """Of a run that is set up or not yet."""
        limit, batches, accumulated = trainer.limit_train_batches, data.steps_per_epoch, trainer.accumulate_grad_batches
        batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit or 0)
        per_epoch = max(1, math.ceil(batches / accumulated))
        epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
        steps = [count for count in (trainer.max_steps, per_epoch * epochs) if count >= 0]
        length = min(steps) if steps else 0  # without end
        draws = {
            "data.seed": data.seed,
            "data.steps_per_epoch": data.steps_per_epoch,
            "data.streams": {name: asdict(stream) for name, stream in data.streams.items()},
            "data.sources": [asdict(source) for source in data.sources],
            "data.packed": data.packed,
            "data.validation": data.validation,
            "data.leave_out": data.leave_out,
            "data.context": data.context,
            "data.split": asdict(data.split),
            "data.scalers": data.scalers,
            "data.sigma": data.sigma,
            "data.coarse_time": str(data.coarse_time),
            "data.step_hours": data.step_hours,
            "data.augment": data.augment,
            "data.area_weights": data.area_weights,
            **model.plan_facts(),
            "trainer.accumulate_grad_batches": accumulated,
            "trainer.gradient_clip_val": trainer.gradient_clip_val,
            "trainer.precision": str(trainer.precision),
        }
        return cls(
            optimizer=model.optimizer_config,
            steps=length,
            epochs=math.ceil(length / per_epoch),
            network=_json(model.network.config),
            draws=_json(draws),
        )

    def facts(self) -> dict[str, Any]:
        """For a checkpoint: plain containers."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Plan":
        """What `facts` gave.

        Raises:
            TypeError: facts of another version.
        """
        return cls(**{**facts, "optimizer": OptimizerConfig(**facts["optimizer"])})

    def changes_of_schedule(self, earlier: "Plan") -> list[str]:
        """What differs between the learning rates, or the optimizer, of two plans."""
        mine, others = asdict(self.optimizer), asdict(earlier.optimizer)
        changed = [f"model.optimizer.{name} was {others[name]}" for name in mine if mine[name] != others[name]]
        if changed or self.optimizer.schedule not in RATES:
            return changed
        by_step = RATES[self.optimizer.schedule].counts == "step"
        length, before = (self.steps, earlier.steps) if by_step else (self.epochs, earlier.epochs)
        shared = min(length, before)
        for count in range(0, shared + 1, max(1, shared // COMPARED)):
            if learning_rate(count, length, self.optimizer) != learning_rate(count, before, self.optimizer):
                return [f"{self.optimizer.schedule} follows from the run's length, which was {earlier.steps} steps"]
        return []

    def changes_of_draws(self, earlier: "Plan") -> list[str]:
        """Keys of the configuration that change what the steps learn from."""
        mine, others = json.loads(self.draws), json.loads(earlier.draws)
        return [name for name in mine if mine[name] != others.get(name)]


def take_up(path: Path, plan: Plan) -> bool:
    """Whether the whole state of a checkpoint can be taken up; else its weights only, said aloud.

    Raises:
        MissingFile: no such checkpoint.
        CheckpointInvalid: it is damaged, or none that a Trainer of ours wrote.
        UsageError: it is of another network.
    """
    earlier = Plan.from_facts(_read(path)["plan"])
    if earlier.network != plan.network:
        raise UsageError(
            "the checkpoint is of another network", f"{path}, model.network", "resume with the configuration beside it"
        )
    changes = plan.changes_of_schedule(earlier)
    if changes:
        warnings.warn(
            f"{path}: only the weights are taken up, the schedule is another: {'; '.join(changes)}", stacklevel=2
        )
        return False
    changes = plan.changes_of_draws(earlier)
    if changes:
        warnings.warn(
            f"{path}: the run goes on, but not as one that was never interrupted: {', '.join(changes)} changed",
            stacklevel=2,
        )
    return True


def logged_steps(path: Path) -> int:
    """How many steps a checkpoint's run has logged; see `take_up` for what is raised."""
    return int(_read(path)["logged_steps"])


def _read(path: Path) -> dict[str, Any]:
    mend = "give last.ckpt of a run's folder; other checkpoints start a new run as weights.path"
    if not path.is_file():
        raise MissingFile(f"no checkpoint {path}", "ckpt_path", mend)
    try:
        facts: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[KEY]
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointInvalid(f"cannot be read: {str(error).splitlines()[0]}", str(path), mend) from error
    except (KeyError, TypeError) as error:
        raise CheckpointInvalid("holds no state of a training to go on with", str(path), mend) from error
    return facts


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
