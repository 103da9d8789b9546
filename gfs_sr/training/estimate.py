"""What a run would take: a few real steps for several patch and batch sizes, before any training."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from gfs_sr.errors import UsageError
from gfs_sr.runtime.summary import peak_rss_bytes
from gfs_sr.training.datamodule import Steps, TrainingData
from gfs_sr.training.parcel import Batch
from gfs_sr.training.samples import Sampler, StreamConfig
from gfs_sr.training.supervised import Supervised, supervised

SHARES: Final = (0.5, 1.0, 2.0)  # of the configured patch, and of the batch
LONGEST_CYCLE: Final = 6  # steps after which streams of every n-th step repeat, at most measured
Clock = Callable[[], float]


@dataclass(frozen=True)
class Cost:
    """Of one size."""

    draw_seconds: float  # per step
    step_seconds: float
    epoch_seconds: float
    memory_bytes: int  # at the worst moment, of the device, or of this process where it is the CPU


@dataclass(frozen=True)
class Row:
    """One size."""

    patch: str  # coarse cells a side, by stream
    batch: str  # samples, by stream
    samples: float  # per step
    cost: Cost | str  # or why there is none


@dataclass(frozen=True)
class Estimate:
    """All sizes."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        heads = ("patch", "batch", "draw s", "step s", "samples/s", "epoch", "memory", "")
        lines = [heads, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        return "\n".join("  ".join(map(str.rjust, line, widths)).rstrip() for line in lines)


class Measure(Callback):
    """Measures where training would start, and ends the run there.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self.clock = clock
        self.estimate = Estimate(())

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Every pair of patch and batch, smallest first."""
        module = supervised(pl_module)
        rows = []
        for patch in SHARES:
            for batch in SHARES:
                streams = {name: scaled(stream, patch, batch) for name, stream in module.data.streams.items()}
                rows.append(_measured(trainer, module, streams, self.clock))
        self.estimate = Estimate(tuple(rows))
        trainer.should_stop = True


def scaled(stream: StreamConfig, patch: float, batch: float) -> StreamConfig:
    """The stream with a share of its patch and of its batch, 1 at least."""
    return replace(stream, patch=max(1, round(patch * stream.patch)), batch=max(1, round(batch * stream.batch)))


def timed_cycle(
    draw: Callable[[int], Batch], step: Callable[[Batch], object], steps: int, clock: Clock
) -> tuple[float, float]:
    """Seconds per step of drawing and of training, the mean over a cycle; a cycle before it warms up."""
    for number in range(steps):
        step(draw(number))
    drawing = training = 0.0
    for number in range(steps):
        start = clock()
        batch = draw(number)
        drawn = clock()
        step(batch)
        drawing += drawn - start
        training += clock() - drawn
    return drawing / steps, training / steps


def epoch_seconds(draw: float, step: float, workers: int, steps: int) -> float:
    """Of an epoch: workers draw while the network trains, without them one waits for the other."""
    return steps * (max(step, draw / workers) if workers else step + draw)


def _measured(trainer: L.Trainer, module: Supervised, streams: Mapping[str, StreamConfig], clock: Clock) -> Row:
    return Row(
        patch="/".join(str(stream.patch) for stream in streams.values()),
        batch="/".join(str(stream.batch) for stream in streams.values()),
        samples=sum(stream.batch / stream.every for stream in streams.values()),
        cost=_cost(trainer, module, streams, clock),
    )


def _cost(trainer: L.Trainer, module: Supervised, streams: Mapping[str, StreamConfig], clock: Clock) -> Cost | str:
    data, device = module.data, module.device
    try:
        batches = _steps(module, data, streams)
    except UsageError as error:
        return error.what

    def draw(number: int) -> Batch:
        batch: Batch = trainer.strategy.batch_to_device(batches[0, number])
        return batch

    def step(batch: Batch) -> None:
        with trainer.precision_plugin.forward_context():
            total = sum(module.stream_losses(batch, streams), start=torch.zeros((), device=device))
        if total.requires_grad:  # a cycle may have steps without a stream
            torch.autograd.backward(total)
        for optimizer in trainer.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    steps = min(LONGEST_CYCLE, math.lcm(*(stream.every for stream in streams.values())))
    _forget_peak(device)
    try:
        drawing, training = timed_cycle(draw, step, steps, clock)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return "more memory than the device has"
    return Cost(
        drawing,
        training,
        epoch_seconds(drawing, training, data.num_workers, data.steps_per_epoch),
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_rss_bytes(),
    )


def _steps(module: Supervised, data: TrainingData, streams: Mapping[str, StreamConfig]) -> Steps:
    task = data.task
    assert task is not None  # setup came first
    samplers = {}
    for name, stream in streams.items():
        module.check_stream(name, stream)
        samplers[name] = Sampler(data.training_sets, task, stream)
        if not samplers[name].sets:
            raise UsageError("no source is large enough", f"data.streams.{name}", "take a smaller patch")
    return Steps(samplers, data.seed, augment=data.augment, epoch_steps=data.steps_per_epoch)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of resident memory starts anew
    except OSError:
        return  # sizes rise, so that a peak that is never forgotten is still that of the largest so far


def _cells(row: Row) -> tuple[str, ...]:
    cost = row.cost
    if isinstance(cost, str):
        return (row.patch, row.batch, "", "", "", "", "", cost)
    rate = row.samples / (cost.step_seconds + cost.draw_seconds)
    minutes, seconds = divmod(round(cost.epoch_seconds), 60)
    memory = f"{cost.memory_bytes / 2**30:.2f} GiB"
    times = (f"{cost.draw_seconds:.3f}", f"{cost.step_seconds:.3f}", f"{rate:.1f}", f"{minutes}:{seconds:02d}")
    return (row.patch, row.batch, *times, memory, "")
