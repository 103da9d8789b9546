"""A training that is killed and resumed: `python -m tests.training.lives LIVES.json`, each life a process of its own.

LIVES.json is a list of lives: `arguments` of `gfs-sr train`, the path of its `curve`, and when it ends by SIGKILL:
`kill` is null (it lives to the end), or [moment, count], with a moment of `MOMENTS` and the count of steps, of writings
or of the curve's rows at which it comes. One process imports everything once and forks each life, one after the other.
It prints how each ended: 0, or minus the signal.
"""

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from gfs_sr.training import main as training
from gfs_sr.training import resume


class Noise(Callback):
    """Adds global random numbers to the gradients, as dropout would."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for each in pl_module.parameters():
            if each.grad is not None:
                each.grad += 1e-3 * torch.randn_like(each)


class Kill(Callback):
    def __init__(self, moment: str, count: int) -> None:
        self.moment, self.count = moment, count

    def _now(self, moment: str, trainer) -> None:
        if moment == self.moment and trainer.global_step >= self.count and not trainer.sanity_checking:
            die()

    def on_train_batch_start(self, trainer, *_):
        self._now("as a step begins", trainer)

    def on_before_optimizer_step(self, trainer, *_):
        self._now("before the weights move", trainer)

    def on_train_batch_end(self, trainer, *_):
        self._now("after the weights moved", trainer)

    def on_validation_start(self, trainer, *_):
        self._now("before validation", trainer)

    def on_validation_batch_end(self, trainer, *_):
        self._now("amid validation", trainer)

    def on_validation_end(self, trainer, *_):
        self._now("after validation", trainer)

    def on_train_epoch_end(self, trainer, *_):
        self._now("after an epoch", trainer)


CALLBACK_MOMENTS = (
    "as a step begins", "before the weights move", "after the weights moved", "before validation", "amid validation",
    "after validation", "after an epoch",
)  # fmt: skip
MOMENTS = (*CALLBACK_MOMENTS, "amid writing", "written, not renamed", "rows")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def live(arguments: list[str], kill: tuple[str, int] | None) -> None:
    """One life; does not return where it is killed."""
    warnings.simplefilter("ignore")
    command = training.parse(arguments)
    command.trainer.callbacks.append(Noise())
    moment, count = kill or ("", 0)
    if moment in CALLBACK_MOMENTS:
        command.trainer.callbacks.append(Kill(moment, count))
    elif moment in ("amid writing", "written, not renamed"):
        save, writings = torch.save, iter(range(1, 1000))

        def save_and_die(what, path, **options):
            save(what, path, **options)
            if Path(path).name.startswith("last.ckpt") and next(writings) == count:
                if moment == "amid writing":
                    os.truncate(path, Path(path).stat().st_size // 2)
                die()

        resume.torch.save = save_and_die
    training.run(command)


def main(path: Path) -> list[int]:
    ends = []
    for life in json.loads(path.read_text()):
        kill = life["kill"]
        child = os.fork()
        if child == 0:
            log = os.open(path.with_name("lives.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                live(life["arguments"], kill)
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        if kill is not None and kill[0] == "rows":
            curve = Path(life["curve"])
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if curve.is_file() and curve.read_bytes().count(b"\n") > kill[1]:
                    os.kill(child, signal.SIGKILL)
                    break
                time.sleep(0.001)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return ends


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
