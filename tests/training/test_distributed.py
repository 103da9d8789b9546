import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from gfs_sr.models.checkpoint import load_checkpoint
from tests.training.runs import FACTORIZED, FUSED, Life, live_all


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


@pytest.mark.parametrize("text", [FACTORIZED, FUSED_FROM_SCRATCH], ids=["factorized", "fused"])
def test_two_processes_give_the_curve_of_one_with_the_doubled_batch(tmp_path, text):
    # one step's weights are within rounding; many steps of training would enlarge it
    options = {"steps": 4, "epochs": 2, "trainer.log_every_n_steps": "1", "data.validation_steps": "3"}
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    assert live_all(one, doubled(text), [Life(one, options)]) == [0]
    assert live_all(two, text, [Life(two, options, ranks=2)]) == [0]
    assert_same_training(one, two, 1e-5)
