"""The 3-D U-Net: its size, what mixes with what, and what starts at nothing."""

import math
from dataclasses import replace

import pytest
import torch

from gfs_sr.models.unet3d import Encoder, StepEmbedding, Unet3d, VolumeConfig
from gfs_sr.models.unet3d_blocks import FullAttention, LinearAttention, Order, PositionBias, Rotary, SliceAttention
from gfs_sr.sampling import CosineProcess
from tests.models.networks import shake

SMALL = VolumeConfig(width=8, multipliers=(1, 2), heads=2, head_width=8, stem=3)


@pytest.mark.parametrize(("channels", "count"), [(1, 35_699_857), (3, 35_706_259)])
def test_s002_1_the_seeds_network_has_the_seeds_number_of_parameters(channels, count):
    with torch.device("meta"):
        network = Unet3d(channels, channels, VolumeConfig())
    assert sum(each.numel() for each in network.parameters()) == count
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == count - 16


@pytest.mark.parametrize("size", [(1, 9, 7), (3, 8, 8), (8, 1, 5)], ids=str)
def test_any_size_comes_out_as_it_went_in(size):
    slices, rows, columns = size
    network = shake(Unet3d(2, 3, SMALL))
    assert network(torch.randn(2, slices, 2, rows, columns), torch.zeros(2)).shape == (2, slices, 3, rows, columns)


def test_slices_know_each_other_by_attention_and_samples_do_not():
    network = shake(Unet3d(1, 1, SMALL), std=0.2)
    x = torch.randn(2, 3, 1, 8, 8, requires_grad=True)
    out = network(x, torch.zeros(2))
    (gradient,) = torch.autograd.grad(out[0, 1].sum(), x)
    assert (gradient[0].abs().sum(dim=(1, 2, 3)) > 0).all()
    assert not gradient[1].any()


def test_attention_between_slices_is_softmax_of_turned_products_and_a_bias():
    """One cell, one head, written out slice by slice."""
    attention = shake(SliceAttention(4, 1, 2), std=0.7)
    angles = 0.5 * torch.arange(3)[:, None]
    x, bias = torch.randn(3, 4, 1, 1), torch.randn(1, 3, 3)
    tokens = attention.norm(x)[..., 0, 0]
    q, k, v = (tokens @ attention.into.weight.T).chunk(3, dim=1)

    def turned(vector, number):
        angle = torch.tensor(0.5 * number)
        turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
        return turn @ vector

    rows = []
    for i in range(3):
        scores = torch.stack([turned(q[i], i) @ turned(k[j], j) / math.sqrt(2) + bias[0, i, j] for j in range(3)])
        rows.append(scores.softmax(dim=0) @ v)
    expected = x[..., 0, 0] + torch.stack(rows) @ attention.out.weight.T
    torch.testing.assert_close(attention(x, Order(3, bias, angles.cos(), angles.sin()))[..., 0, 0], expected)


def test_turns_keep_lengths_and_products_know_only_distances():
    angles = Rotary(8)(torch.arange(6)).detach()
    order = Order(6, torch.zeros(1, 6, 6), angles.cos(), angles.sin())
    q, k = torch.randn(8), torch.randn(8)
    at = order.turned(torch.stack([q] * 6)), order.turned(torch.stack([k] * 6))
    torch.testing.assert_close(at[0].norm(dim=-1), q.norm().expand(6))
    torch.testing.assert_close(at[0][1] @ at[1][3], at[0][3] @ at[1][5])


def test_the_position_bias_tells_sides_and_near_from_far():
    bias = PositionBias(1)
    bias.table.weight.data = torch.arange(32.0)[:, None]
    found = bias(torch.arange(64))[0]
    assert found[5, 5] == 0
    assert (found[8, 1], found[1, 8]) == (7, 16 + 7)  # up to 7 each distance has its own
    assert (found[16, 0], found[0, 16]) == (12, 16 + 12)  # 8 + ln(16/8) / ln(32/8) * 8
    assert (found[63, 0], found[0, 63]) == (15, 31)


@pytest.mark.parametrize("kind", [LinearAttention, FullAttention], ids=lambda kind: kind.__name__)
def test_attention_in_space_reaches_every_cell_of_its_slice_alone(kind):
    attention = shake(kind(4, 2, 4), std=0.5)
    x = torch.randn(2, 4, 3, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention(x)[0, :, 0, 0].sum(), x)
    assert (gradient[0].abs().sum(dim=0) > 0).all()
    assert not gradient[1].any()


@pytest.mark.parametrize("step", [0, 3, 500, 998])
def test_the_embedding_finds_the_step_of_a_noise_level(step):
    """Sines of the step itself, at the fastest frequency 1: exact up to float32."""
    embedding = StepEmbedding(2)
    embedding.layers = torch.nn.Identity()
    level = torch.tensor([CosineProcess.sigmas()[step]]).log().float()
    found = embedding(level)[0]
    torch.testing.assert_close(found, torch.tensor([math.sin(step), math.cos(step)]), rtol=0, atol=2e-2)


def test_s002_4_a_prior_that_starts_at_zero_changes_nothing():
    torch.manual_seed(0)
    network = Unet3d(2, 1, SMALL, prior=3)
    x, level = torch.randn(1, 3, 2, 9, 7), torch.zeros(1)
    with torch.no_grad():
        told, other = (network(x, level, prior) for prior in (torch.randn(1, 3, 3, 9, 7), torch.zeros(1, 3, 3, 9, 7)))
    assert torch.equal(told, other)


def test_a_priors_encoder_is_not_led():
    assert not any("lead" in name for name, _ in Encoder(3, SMALL).named_parameters())


def of_slices(focus, training=False):
    """What other slices change at the first one: two outputs of it, the other slices of which differ."""
    torch.manual_seed(0)
    network = shake(Unet3d(2, 1, replace(SMALL, focus=focus), prior=2), std=0.3).train(training)
    x, told = torch.randn(2, 1, 3, 2, 9, 7).expand(2, 4, -1, -1, -1, -1).clone()
    other, also = x.clone(), told.clone()
    other[:, 1:], also[:, 1:] = torch.randn(4, 2, 2, 9, 7), torch.randn(4, 2, 2, 9, 7)
    with torch.no_grad():
        seen = []
        for each, prior in ((x, told), (other, also)):
            torch.manual_seed(0)  # the same samples focus in both
            seen.append(network(each, torch.zeros(4), prior)[:, 0])
    return seen


@pytest.mark.parametrize("training", [False, True])
def test_s002_15_at_focus_1_a_slice_does_not_depend_on_the_others(training):
    first, other = of_slices(1.0, training)
    assert torch.equal(first, other)


def test_s002_15_without_focus_it_does():
    first, other = of_slices(0.0)
    assert float((first - other).abs().max()) > 1e-3


def test_s002_15_a_share_of_the_training_samples_focuses_and_none_where_it_runs():
    first, other = of_slices(0.5, training=True)
    alone = [torch.equal(*each) for each in zip(first, other, strict=True)]
    assert 0 < sum(alone) < 4
    first, other = of_slices(0.5)
    assert not any(torch.equal(*each) for each in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"width": 0}, "start at 1"),
        ({"head_width": 5}, "even"),
        ({"stem": 4}, "odd"),
        ({"width": 7}, "odd"),
        ({"focus": 1.5}, "share"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_are_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        VolumeConfig(**setting)
