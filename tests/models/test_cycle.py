"""Two passes of a network of time lead back to a frame of the archive."""

import pytest
import torch
from torch import Tensor

from gfs_sr import models
from gfs_sr.models.cycle import Cycle
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.losses import LossConfig
from gfs_sr.training.self_supervised import SelfSupervised, SelfSupervisedConfig

VARIANTS = {
    "narrow": {"family": "temdeep_narrow", "width": 6, "variables": ["t2m"]},
    "narrow, two frames alone": {"family": "temdeep_narrow", "width": 6, "variables": ["t2m"], "before": 0},
    "narrow, a frame more": {"family": "temdeep_narrow", "width": 6, "variables": ["t2m"], "after": 2},
    "rife": {"family": "rife", "width": 6, "variables": ["t2m"]},
    "wide": {"family": "temdeep", "widths": [4, 6], "variables": ["t2m"], "terrain": False},
}
THETA = 0.3


def linear_in_time(frames: int, rows: int, columns: int) -> Tensor:
    """(1, T, 1, H, W): every cell rises by its own amount per frame."""
    draw = torch.Generator().manual_seed(4)
    start, slope = torch.randn(2, 1, 1, 1, rows, columns, generator=draw)
    return start + slope * torch.arange(frames)[None, :, None, None, None] / 2


def part_of(model, theta: float = THETA) -> dict[str, Tensor]:
    """A batch of the kind `cycle`, without sun and ground."""
    around = Cycle(model).around
    frames = 2 * around.before + 1 + 2 * around.after
    reach = model.reach if isinstance(model.reach, Reach) else Reach()
    coarse = linear_in_time(frames, 8 + 2 * reach.north, 9 + 2 * reach.west)
    inner = coarse[..., reach.north : 8 + reach.north, reach.west : 9 + reach.west]
    target = 2 * around.before + 1  # of the frames with their context
    fine = inner[:, target : target + 1]
    return {
        "coarse": coarse, "fraction": torch.tensor([[theta]]), "hours": torch.tensor([6.0]), "fine": fine,
        "mask": torch.ones_like(fine, dtype=torch.bool), "variable": torch.tensor([[0]]),
    }  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_s001_07_untrained_both_passes_lead_back_to_the_frame_of_a_series_that_is_linear_in_time(variant):
    model = models.build(VARIANTS[variant]).eval()
    part = part_of(model)
    with torch.no_grad():
        passes = Cycle(model)(part)
    torch.testing.assert_close(passes.returned, part["fine"], rtol=0, atol=2e-6)
    torch.testing.assert_close(passes.base, part["fine"], rtol=0, atol=2e-6)
    assert passes.between.shape[1] == Cycle(model).around.before + 1 + Cycle(model).around.after


def test_s001_07_the_two_pass_loss_is_zero_on_a_series_that_is_linear_in_time():
    training = SelfSupervised(
        network=VARIANTS["narrow"], name="small", loss=LossConfig(weights={"l1": 1.0}),
        self_supervised=SelfSupervisedConfig(tv=0.0, bend=0.0),
    )  # fmt: skip
    part = part_of(training.network)
    with torch.no_grad():
        loss, terms = training.cycle_loss(part)
        elsewhere, _ = training.cycle_loss(part | {"fine": part["fine"] + 1})
    assert set(terms) == {"l1"}
    assert float(loss) < 1e-5
    assert float(elsewhere) > 0.1


class Recorder(torch.nn.Module):
    """In place of a network: notes the fractions that it is asked for."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model, self.asked = model, []
        self.reach, self.inputs_of = model.reach, model.inputs_of

    def forward(self, **inputs):
        self.asked.append(inputs["fraction"].flatten().tolist())
        return self.model(**inputs)


@pytest.mark.parametrize("theta", [0.1, 0.5, 0.85])
def test_s001_07_the_second_pass_asks_for_the_rest_of_the_first_one_s_fraction(theta):
    stub = Recorder(models.build(VARIANTS["narrow"]).eval())
    part = part_of(stub.model, theta)
    with torch.no_grad():
        Cycle(stub)(part)
    assert stub.asked == [pytest.approx([theta]), pytest.approx([1 - theta])]


def test_s001_07_at_another_fraction_the_second_pass_would_miss_the_frame():
    model = models.build(VARIANTS["narrow"]).eval()
    part = part_of(model)
    cycle = Cycle(model)
    with torch.no_grad():
        between = cycle.first_pass(part)
        missed = cycle.second_pass(part | {"fraction": torch.tensor([[0.5]])}, between)
    assert (missed - part["fine"]).abs().mean() > 0.05
