"""One training on several processes: sums and means are over all of them, as if one process had held the whole batch.

Gradients are averaged over the ranks by DDP. A mean over a batch is therefore, on each rank, its own sum times the
number of ranks, divided by the weight that all ranks hold together: the average of that is the mean over the whole
batch, however the masked cells fall.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from gfs_sr.errors import UsageError

Value = TypeVar("Value")
_in_whole_batch: ContextVar[bool] = ContextVar("in_whole_batch", default=False)
_AUTOMATIC: Final = ("auto", -1, "-1")


def ranks() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes files and speaks to the user; known before the processes meet."""
    return int(getattr(rank_zero_only, "rank", None) or 0) == 0


@contextmanager
def whole_batch() -> Iterator[None]:
    """Within it, `summed`, `extremes` and `anywhere` are over the batches of all ranks; each must ask for the same."""
    token = _in_whole_batch.set(True)
    try:
        yield
    finally:
        _in_whole_batch.reset(token)


def parts() -> int:
    """How many batches make the one that means are over."""
    return ranks() if _in_whole_batch.get() else 1


def summed(share: Tensor) -> Tensor:
    """The sum over the parts, without gradient where there are several."""
    return _reduced(share, dist.ReduceOp.SUM) if parts() > 1 else share


def extremes(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The least `low` and the greatest `high` of the parts."""
    if parts() == 1:
        return low, high
    return _reduced(low, dist.ReduceOp.MIN), _reduced(high, dist.ReduceOp.MAX)


def anywhere(fact: bool, device: torch.device) -> bool:
    """Whether it holds in one of the parts."""
    if parts() == 1:
        return fact
    return bool(_reduced(torch.tensor(float(fact), device=device), dist.ReduceOp.MAX))


def means(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scalars averaged over all ranks, which must hold the same names; for the logs."""
    if ranks() == 1 or not values:
        return dict(values)
    stacked = _reduced(torch.stack([value.float() for value in values.values()]), dist.ReduceOp.SUM) / ranks()
    return dict(zip(values, stacked.unbind(), strict=True))


def gathered(value: Value) -> list[Value]:
    """What every rank holds, in the order of the ranks."""
    if ranks() == 1:
        return [value]
    found: list[Any] = [None] * ranks()
    dist.all_gather_object(found, value)
    return found


@torch.no_grad()
def broadcast(state: Mapping[str, Tensor]) -> None:
    """Every rank takes rank 0's values."""
    if ranks() > 1:
        for tensor in state.values():
            dist.broadcast(tensor, src=0)


def _reduced(value: Tensor, operation: Any) -> Tensor:
    result = value.detach().clone()
    dist.all_reduce(result, op=operation)
    return result


def placement(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What the Trainer must be told about processes that its configuration leaves open.

    Under torchrun, `devices` and `num_nodes` are torchrun's where they are left out. Where there are several processes
    and no strategy is named, it is DDP that allows for weights without a part in a step: streams train different ones.

    Args:
        trainer: its configuration.

    Raises:
        UsageError: numbers that are not torchrun's.
    """
    devices, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes", 1)
    told: dict[str, Any] = {"use_distributed_sampler": False}  # every rank draws its own samples by their keys
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        devices = local if devices in _AUTOMATIC else devices
        nodes = world // local if nodes == 1 else nodes
        told |= {"devices": devices, "num_nodes": nodes}
        if isinstance(devices, int | str) and int(devices) * nodes != world:
            raise UsageError(
                f"{devices} devices on {nodes} nodes, but torchrun started {world} processes",
                "trainer.devices, trainer.num_nodes",
                "leave both out, or give torchrun's --nproc-per-node and --nnodes",
            )
    if trainer.get("strategy", "auto") == "auto" and (nodes > 1 or _count(devices, trainer.get("accelerator")) > 1):
        from lightning.pytorch.strategies import DDPStrategy

        told["strategy"] = DDPStrategy(find_unused_parameters=True)
    return told


def _count(devices: Any, accelerator: Any) -> int:
    if isinstance(devices, list | tuple):
        return len(devices)
    if devices in _AUTOMATIC:
        return torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 1
    text = str(devices)
    return int(text) if text.isdigit() else text.count(",") + 1
