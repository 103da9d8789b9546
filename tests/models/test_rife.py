"""Interpolation in time as networks of video do it: motion from coarse to fine, two views, a mask, a refinement."""

import math

import pytest
import torch

from gfs_sr import models
from gfs_sr.errors import UsageError
from gfs_sr.models.receptive_field import probe
from tests.models.networks import coarse_input, shake
from tests.models.test_temdeep import FRACTIONS, frames_of, inputs_of, moving

SMALL = {"family": "rife", "width": 6, "variables": ["t2m", "sp"]}


def line_of(before, after, fraction):
    t = fraction[..., None, None, None]
    return ((1 - t) * before[:, :, None] + t * after[:, :, None]).flatten(1, 2)


@pytest.mark.parametrize("dilations", [[4, 2, 1], [1], [3, 1]])
def test_untrained_it_is_linear_interpolation(dilations):
    model = models.build(SMALL | {"dilations": dilations}).eval()
    given = inputs_of(model)
    before, after = frames_of(model, given["coarse"])
    with torch.no_grad():
        fine = model(**given)
    torch.testing.assert_close(fine, line_of(before, after, FRACTIONS), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.baseline(given["coarse"], FRACTIONS), fine, rtol=0, atol=1e-6)


def test_at_the_frames_it_gives_the_frames_whatever_it_learned():
    model = shake(models.build(SMALL), 0.3).eval()
    given = inputs_of(model) | {"fraction": torch.tensor([[[0.0, 0.4, 1.0]]])}
    before, after = frames_of(model, given["coarse"])
    with torch.no_grad():
        fine = model(**given).unflatten(1, (-1, 3))
    torch.testing.assert_close(fine[:, :, 0], before, rtol=0, atol=1e-5)
    torch.testing.assert_close(fine[:, :, 2], after, rtol=0, atol=1e-5)
    line = line_of(before, after, torch.tensor([[[0.4]]]))
    assert (fine[:, :, 1] - line).abs().max() > 1e-2


def test_it_reaches_as_far_as_it_says_and_no_farther():
    model = shake(models.build(SMALL | {"variables": ["t2m"], "largest_flow": 3.0}), 0.3).eval().double()
    halo = model.reach
    coarse = coarse_input(halo, channels=1).double()
    fraction = torch.tensor([[[0.4]]], dtype=torch.float64)
    # window 4; means and two convolutions of each stage 11, 5, 2; the refinement's 2
    assert (halo.north, halo.before, halo.after) == (24, 0, 1)
    assert probe(lambda x: model(x, torch.tensor([0]), fraction), coarse, halo, 1, 1) == halo


def test_flows_never_point_beyond_the_halo_they_are_given():
    assert models.build(SMALL | {"dilations": [1], "largest_flow": 14.0}).reach.north == 14 + 2
    torch.manual_seed(0)
    model = models.build(SMALL | {"variables": ["t2m"], "dilations": [1], "largest_flow": 5.5}).eval()
    torch.nn.init.constant_(model.stages[0].head.bias, 1e4)  # as far as it may
    coarse = coarse_input(model.reach, channels=1)
    with torch.no_grad():
        fine = model(coarse, torch.tensor([0]), torch.tensor([[[0.5]]]))
    # the mask's logit is 1e4 too: the frame before alone, half of 5.5 cells to the south-east
    at = model.cells + 2
    square = coarse[0, 0, 0, at : at + 2, at : at + 2]
    share = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(fine[0, 0, 0, 0, 0], share @ square @ share, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
def test_with_the_true_flow_a_moved_pattern_is_moved_by_its_share(t):
    model = models.build(SMALL | {"largest_flow": 6.0}).eval()
    to_before = torch.tensor([-2.0, -3.0])
    flows = 6 * torch.atanh(torch.cat([to_before, -to_before]) / 6)
    with torch.no_grad():
        model.stages[0].head.bias[:4] = flows / 2  # what the stages say adds up
        model.stages[2].head.bias[:4] = flows / 2
    R = model.cells
    size = (24 + 2 * R, 28 + 2 * R)
    frames = torch.stack([moving((0, 0), *size), moving((2, 3), *size)])[None, :, None].expand(1, 2, 2, -1, -1)
    with torch.no_grad():
        fine = model(frames, torch.tensor([0, 6]), torch.tensor([[[t]]]))[0, 0]
    truth = moving((2 * t, 3 * t), *size)[R:-R, R:-R]
    line = ((1 - t) * frames[0, 0, 0] + t * frames[0, 1, 0])[R:-R, R:-R]
    error = (fine - truth).abs().max()
    assert error < 0.3**2 / 8 * 1.3 + 1e-4  # bilinear sampling: an eighth of the second derivative
    assert error < 0.6 * (line - truth).abs().max()


def test_a_part_of_a_field_is_as_it_is_in_the_whole():
    model = shake(models.build(SMALL), 0.2).eval()
    given = inputs_of(model, frames=1, rows=17, columns=21, batch=1)
    halo = model.cells
    with torch.no_grad():
        whole = model(**given)
        for row, column in ((0, 0), (3, 5), (10, 7)):
            window = given["coarse"][..., row : row + 7 + 2 * halo, column : column + 9 + 2 * halo]
            part = model(**given | {"coarse": window})
            torch.testing.assert_close(part, whole[..., row : row + 7, column : column + 9], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dilations": []}, "must be positive"), ({"largest_flow": 0.0}, "must be positive"), ({"width": 0}, "positive"),
     ({"scale_factor": 2}, "keeps the cells")],
)  # fmt: skip
def test_a_network_that_cannot_be_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        models.build(SMALL | change)


def test_its_price_is_that_of_its_convolutions_at_every_time():
    model = models.build({"family": "rife", "width": 32})
    per_stage = [9 * channels * 32 + 9 * 32 * 32 + 32 * outputs for channels, outputs in ((3, 5), (10, 5), (10, 5))]
    refinement = 9 * 11 * 32 + 9 * 32 * 32 + 32
    assert math.isclose(model.flops_per_fine_cell, 10 * (sum(per_stage) + refinement))
