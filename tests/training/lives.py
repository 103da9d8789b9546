"""A training that is killed and resumed: `python -m tests.training.lives LIVES.json`, each life a process of its own.

LIVES.json is a list of lives: `arguments` of `gfs-sr train`, the path of its `curve`, how many `ranks` train together,
and when the last of them ends by SIGKILL: `kill` is null (it lives to the end), or [moment, count], with a moment of
`MOMENTS` and the count of steps, of writings or of the curve's rows at which it comes. One process imports everything
once and forks each life, one after the other, with the environment that torchrun gives. Like torchrun it ends all ranks
with the first that fails. It prints how each life ended: 0, or minus the signal. Ranks but the first may write nothing.
A `noisy` life adds random numbers to its gradients.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
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


def live(arguments: list[str], kill: tuple[str, int] | None, noisy: bool) -> None:
    """One life; does not return where it is killed."""
    warnings.simplefilter("ignore")
    command = training.parse(arguments)
    if noisy:
        command.trainer.callbacks.append(Noise())
    moment, count = kill or ("", 0)
    if moment in CALLBACK_MOMENTS:
        command.trainer.callbacks.append(Kill(moment, count))
    elif moment in ("amid writing", "written, not renamed"):
        save, writings = torch.save, iter(range(1, 1000))

        def save_and_die(what, file, **options):
            save(what, file, **options)
            file.flush()
            path = Path(file.name)
            if path.name.startswith("last.ckpt") and next(writings) == count:
                if moment == "amid writing":
                    os.truncate(path, path.stat().st_size // 2)
                die()

        resume.torch.save = save_and_die
    training.run(command)


def environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Of one process of several, as torchrun sets it."""
    facts = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0,
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}  # fmt: skip
    return {name: str(value) for name, value in facts.items()}


def refuse_writing(folder: Path) -> None:
    """Any file below `folder` that is opened for writing from now on is an error."""

    def watch(event: str, details: tuple) -> None:
        if event == "open" and isinstance(details[0], str) and details[0].startswith(str(folder)):
            _, mode, flags = details
            if flags & (os.O_WRONLY | os.O_RDWR) or set(mode or "") & set("wax+"):
                raise PermissionError(f"written by a rank that is not the first: {details[0]}")

    sys.addaudithook(watch)


def fork(log: Path, life: dict, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    ranks = life.get("ranks", 1)
    if rank:
        refuse_writing(Path(life["curve"]).parents[1])
    if ranks > 1:
        os.environ |= environment(rank, ranks, port)
    try:
        live(life["arguments"], life["kill"] if rank == ranks - 1 else None, life["noisy"])
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(path: Path) -> list[int]:
    ends = []
    for life in json.loads(path.read_text()):
        kill = life["kill"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = {fork(path.with_name("lives.log"), life, rank, port) for rank in range(life.get("ranks", 1))}
        end, curve = 0, Path(life["curve"])
        while children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child:
                children.remove(child)
                end = end or os.waitstatus_to_exitcode(status)
            rows = kill is not None and kill[0] == "rows" and curve.is_file() and curve.read_bytes().count(b"\n")
            if end or (rows and rows > kill[1]):
                for each in children:
                    os.kill(each, signal.SIGKILL)
            time.sleep(0.001)
        ends.append(end)
    return ends


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
