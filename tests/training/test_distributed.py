import csv
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training.datamodule import Share, Steps
from gfs_sr.training.losses import LOSSES, LossConfig
from gfs_sr.training.samples import StreamConfig
from tests.training.ranks import RANKS, losses
from tests.training.runs import FACTORIZED, FUSED, Life, arguments, live_all


def curve(folder: Path) -> list[dict[str, float]]:
    with (folder / "run" / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if value and "perf/" not in name} for row in rows]


def assert_same_training(one: Path, other: Path, tolerance: float) -> None:
    """Of curves, skill and weights."""
    first, second = curve(one), curve(other)
    assert [set(row) for row in first] == [set(row) for row in second]
    for mine, others in zip(first, second, strict=True):
        np.testing.assert_allclose(list(mine.values()), list(others.values()), rtol=tolerance, atol=tolerance)
    mine, others = (load_checkpoint(folder / "run" / "last.ckpt") for folder in (one, other))
    assert [line.variable for line in mine.skill] == [line.variable for line in others.skill]
    for name, tensor in mine.state_dict.items():
        torch.testing.assert_close(others.state_dict[name], tensor, rtol=0, atol=tolerance)


def doubled(text: str) -> str:
    """The same training streams with twice the batch; the validation stays."""
    head, validation = text.split("validation_stream")
    for size in (4, 3, 2):
        head = head.replace(f"batch: {size},", f"batch:  {2 * size},")
    return f"{head}validation_stream{validation}"


# the closed form draws as many samples as one process does, however many there are
FUSED_FROM_SCRATCH = FUSED.replace("closed_form: true", "closed_form: false")


@pytest.mark.parametrize(
    "text", [FACTORIZED, pytest.param(FUSED_FROM_SCRATCH, marks=pytest.mark.slow)], ids=["factorized", "fused"]
)
def test_two_processes_give_the_curve_of_one_with_the_doubled_batch(tmp_path, text):
    # one step's weights are within rounding; many steps of training would enlarge it
    options = {"steps": 4, "epochs": 2, "trainer.log_every_n_steps": "1", "data.validation_steps": "3"}
    one, two = tmp_path / "one", tmp_path / "two"
    assert live_all(tmp_path, text, [Life(one, options, text=doubled(text)), Life(two, options, ranks=2)]) == [0, 0]
    assert_same_training(one, two, 1e-5)


def batch() -> tuple[dict[str, torch.Tensor], list[list[str]]]:
    """Four samples of two channels; the second process's are worse, one is masked altogether, one for the most part."""
    draw = torch.Generator().manual_seed(0)
    shape = (4, 3, 2, 88, 88)
    fine = torch.randn(shape, generator=draw).cumsum(dim=-1) / 5
    mask = torch.rand(shape, generator=draw) < 0.95
    mask[1], mask[3, ..., 30:] = False, False
    area = torch.linspace(0.3, 1.0, 88)[:, None].expand(4, 1, 1, 88, 88)
    base = fine + 0.5 * torch.randn(shape, generator=draw)
    prediction = fine + torch.tensor([0.3, 0.9, 0.3, 0.9])[:, None, None, None, None] * torch.randn(
        shape, generator=draw
    )
    part = {"fine": fine, "mask": mask, "area": area, "base": base, "prediction": prediction}
    # t2m is drawn by the first process alone
    return part, [["t2m", "wspd"], ["sp", "wspd"], ["wspd", "sp"], ["wspd", "wspd"]]


CONFIGS = {
    **{name: LossConfig(weights={name: 1.0}) for name in LOSSES},
    "relative": LossConfig(weights={"huber": 1.0, "dt": 0.1}, relative=True),
    "variables": LossConfig(weights={"l1": 1.0, "grad": 0.1}, variables={"t2m": 2.0, "sp": 0.5}),
    "rim": LossConfig(weights={"mse": 1.0, "psd": 1.0}, buffer=3),
}


def test_every_loss_and_its_gradient_are_those_of_the_whole_batch_however_the_masks_fall(tmp_path):
    part, names = batch()
    torch.save({"part": part, "names": names, "configs": CONFIGS}, tmp_path / "batch.pt")
    subprocess.run([sys.executable, "-m", "tests.training.ranks", str(tmp_path)], check=True, timeout=120)
    whole = losses(CONFIGS, part, names)
    shares = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(RANKS)]
    for key in CONFIGS:
        assert shares[0][key]["terms"].keys() == whole[key]["terms"].keys()
        torch.testing.assert_close(shares[0][key]["terms"], whole[key]["terms"], rtol=1e-5, atol=1e-7)
        for rank, share in enumerate(shares):
            # DDP averages gradients over the ranks
            expected = whole[key]["gradient"][rank::RANKS]
            scale = float(whole[key]["gradient"].abs().max())
            torch.testing.assert_close(share[key]["gradient"] / RANKS, expected, rtol=1e-4, atol=1e-5 * scale)


def test_the_means_of_the_shares_alone_would_be_another_loss():
    part, names = batch()
    alone = [{name: tensor[rank::RANKS] for name, tensor in part.items()} for rank in range(RANKS)]
    config = {"l1": CONFIGS["l1"]}
    values = [losses(config, share, names)["l1"]["terms"]["loss"] for share in alone]
    assert abs(sum(values) / 2 / losses(config, part, names)["l1"]["terms"]["loss"] - 1) > 0.01


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_processes_draw_what_one_process_draws_and_nothing_twice(ranks):
    class Numbered:
        def __init__(self, stream):
            self.stream = stream
            self.reads_files = False

        def draw(self, rng, augment, pool=None):
            return {"drawn": rng.integers(2**62, size=1)}

    streams = {"a": StreamConfig(batch=2), "b": StreamConfig(batch=3, every=2)}
    samplers = {name: Numbered(stream) for name, stream in streams.items()}
    wide = {name: Numbered(replace(each, batch=ranks * each.batch)) for name, each in streams.items()}
    one = Steps(wide, 7, augment=True, epoch_steps=5)
    shares = [Steps(samplers, 7, augment=True, epoch_steps=5, share=Share(rank, ranks)) for rank in range(ranks)]
    for key in ((0, 0), (0, 1), (2, 3)):
        for name, expected in one[key].items():
            drawn = torch.stack([share[key][name]["drawn"] for share in shares], dim=1).flatten()
            assert drawn.tolist() == expected["drawn"].flatten().tolist()
            assert len(set(drawn.tolist())) == drawn.numel()


@pytest.mark.slow
@pytest.mark.parametrize("text", [FACTORIZED, FUSED], ids=["factorized", "fused"])
def test_a_killed_run_of_two_processes_is_the_uninterrupted_one_in_every_bit(tmp_path, text):
    options = {"steps": 5, "epochs": 2, "trainer.log_every_n_steps": "1", "ckpt_path": "last",
               "checkpoints.every_steps": "2"}  # fmt: skip
    deaths = [("after the weights moved", 3), ("after validation", 5), ("before the weights move", 8), None]
    lives = [Life(tmp_path / "whole", options, ranks=2)]
    lives += [Life(tmp_path / "killed", options, death, ranks=2) for death in deaths]
    assert live_all(tmp_path, text, lives) == [0, *[-signal.SIGKILL] * 3, 0]
    assert_same_training(tmp_path / "whole", tmp_path / "killed", 0.0)


def command(*launcher: str) -> list[str]:
    return [str(Path(sys.executable).with_name(launcher[0])), *launcher[1:]]


@pytest.mark.slow
def test_the_trainer_starts_its_processes_itself(tmp_path):
    options = {"steps": 4, "epochs": 1, "trainer.log_every_n_steps": "1"}
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    live_all(one, doubled(FACTORIZED), [Life(one, options)])
    given = arguments(two, FACTORIZED, **options | {"trainer.devices": "2"})
    done = subprocess.run(command("gfs-sr", "train", *given), capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == [str(two / "run" / "factorized.ckpt")]  # said once
    assert "sync_dist" not in done.stderr  # every figure is of both processes already
    assert_same_training(one, two, 1e-5)


@pytest.mark.slow
def test_two_nodes_meet_and_train_as_one(tmp_path):
    options = {"steps": 4, "epochs": 1, "trainer.log_every_n_steps": "1"}
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    live_all(one, doubled(FACTORIZED), [Life(one, options)])
    given = arguments(two, FACTORIZED, **options)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agents = [
        subprocess.Popen(
            command(
                "torchrun", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={node}", "--rdzv-backend=c10d",
                f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test", "--local-addr=127.0.0.1",
                "-m", "gfs_sr.cli", "train", *given,
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for node in range(2)
    ]  # fmt: skip
    outputs = [agent.communicate(timeout=300) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert "".join(text for text, _ in outputs).splitlines() == [str(two / "run" / "factorized.ckpt")]
    assert_same_training(one, two, 1e-5)
