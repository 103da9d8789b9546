"""`fused` as it is exported: another order of the same operations."""

import pytest
import torch

from gfs_sr.data.grid import Registration
from gfs_sr.models.folding import fold
from gfs_sr.models.fused_folded import time_weights
from tests.models.networks import shake
from tests.models.test_fused import all_inputs, small


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize(("s", "r"), [(6, 6), (4, 3), (1, 2), (3, 1), (1, 1)])
@pytest.mark.parametrize("batch", [1, 2])
def test_folded_it_is_the_same_function(registration, s, r, batch):
    model = shake(small(scale_factor=s, time_factor=r, registration=registration))
    inputs = all_inputs(model, frames=3, rows=5, columns=4, batch=batch)
    with torch.inference_mode():
        truth, folded = model(**inputs), fold(model)(**inputs)
    assert truth.abs().max() > 5  # the residual takes part
    torch.testing.assert_close(folded, truth, rtol=0, atol=1e-5)  # sums of some hundred values in another order


@pytest.mark.parametrize("r", [1, 2])
def test_folded_it_does_without_sun_and_statics_too(r):
    model = shake(small(time_factor=r))
    inputs = {name: x for name, x in all_inputs(model).items() if name in ("coarse", "variable")}
    with torch.inference_mode():
        torch.testing.assert_close(fold(model)(**inputs), model(**inputs), rtol=0, atol=1e-5)


def test_folding_leaves_the_network_as_it_was():
    model = shake(small())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fold(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_for_frames_it_gives_what_the_series_has_at_its_frames():
    model = shake(small())
    inputs = all_inputs(model, frames=2)
    alone = model.for_frames()
    names = ("variable", "static_coarse", "static_fine")
    with torch.inference_mode():
        series = model(**inputs)
        frames = alone(inputs["coarse"][:, 1:-2], **{name: inputs[name] for name in names})
    torch.testing.assert_close(frames, series[:, ::6], rtol=0, atol=1e-5)
    assert alone.for_frames() is None


def test_the_promise_for_frames_is_that_of_the_network_for_frames():
    model = small()
    promised = model.make_contract(name="small").for_frames()
    assert promised == model.for_frames().make_contract(name="small", interval_hours=())  # time tells them nothing
    assert promised.graph_inputs() == tuple(all_inputs(model.for_frames()))


def test_time_weights_hold_frames_exactly_and_sum_to_one():
    weights = time_weights(40, 6, torch.zeros(()))
    assert torch.equal(weights[:, 0], torch.eye(40, 41))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(40, 6), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights[7, 2, 8], torch.tensor(2 / 6), rtol=0, atol=1e-7)
