"""What processes make of a share of a batch each: `python -m tests.training.ranks FOLDER` reads and writes there."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from gfs_sr.training.distributed import means, whole_batch
from gfs_sr.training.losses import LossConfig, sample_loss

RANKS = 2


def losses(configs: dict[str, LossConfig], part: dict[str, torch.Tensor], names: list[list[str]]) -> dict:
    """Terms and the gradient by each configuration's name."""
    found = {}
    for key, config in configs.items():
        prediction = part["prediction"].clone().requires_grad_()
        loss, terms = sample_loss(config, part, prediction, part["base"], names)
        (gradient,) = torch.autograd.grad(loss, prediction, allow_unused=True)
        logged = {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}
        found[key] = {"terms": means(logged), "gradient": gradient}
    return found


def main(folder: Path, rank: int) -> None:
    given = torch.load(folder / "batch.pt", weights_only=False)
    share = {name: tensor[rank::RANKS] for name, tensor in given["part"].items()}
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    with whole_batch():
        found = losses(given["configs"], share, given["names"][rank::RANKS])
    torch.save(found, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    children = []
    for rank in range(RANKS):
        children.append(os.fork())
        if not children[-1]:
            torch.set_num_threads(1)
            main(Path(sys.argv[1]), rank)
            os._exit(0)
    sys.exit(max(os.waitpid(child, 0)[1] for child in children))
