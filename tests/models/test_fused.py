import pytest
import torch

from gfs_sr import models
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import variable_ids
from gfs_sr.models.fused import Fused, FusedConfig
from gfs_sr.models.fused_inputs import sun_anomalies, sun_features
from gfs_sr.models.interpolation import Interpolation
from gfs_sr.models.receptive_field import Reach, probe
from tests.models.networks import coarse_input, shake

NAMES = ("t2m", "sp", "u10")
FULL = Reach.space(12) + Reach(before=1, after=2)


def small(**changes: object) -> Fused:
    return Fused(FusedConfig(**({"width": 8} | changes)))


def all_inputs(
    model: Fused, frames: int = 2, rows: int = 2, columns: int = 3, batch: int = 1
) -> dict[str, torch.Tensor]:
    r, s, margin = model.facts.time_factor, model.facts.scale_factor, model.reach
    coarse = coarse_input(margin, frames, len(NAMES), rows, columns, batch)
    size = coarse.shape[3:]
    generator = torch.Generator().manual_seed(2)
    inputs = {"coarse": coarse, "variable": torch.tensor(variable_ids(NAMES))}
    if r > 1:
        inputs["predictor_coarse"] = torch.randn(batch, coarse.shape[1], 3, *size, generator=generator)
        inputs["predictor_coarse_fine_time"] = torch.randn(batch, r * frames, 3, *size, generator=generator)
        # at the frames themselves there is one sun
        inputs["predictor_coarse_fine_time"][:, ::r] = inputs["predictor_coarse"][:, 1:-2]
    inputs["static_coarse"] = torch.randn(batch, 1, 2, *size, generator=generator)
    inputs["static_fine"] = torch.randn(batch, 1, 2 * s * s, *size, generator=generator)
    return inputs


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize(("s", "r"), [(6, 6), (4, 3), (1, 2), (3, 1), (1, 1)])
def test_untrained_it_equals_the_sharpened_interpolation_bitwise(registration, s, r):
    model = small(scale_factor=s, time_factor=r, registration=registration)
    inputs = all_inputs(model)
    twin = Interpolation(s, r, registration, sharpening=0.2)
    with torch.inference_mode():
        fine = model(**inputs)
        assert fine.shape == (1, 2 * r, 3, 2 * s, 3 * s)
        assert torch.equal(fine, twin.within(inputs["coarse"], model.reach))


def test_x_1_fused_takes_the_inputs_its_contract_names():
    model = models.build({"family": "fused"})
    contract = model.make_contract(name="fused")
    assert contract.graph_inputs() == tuple(all_inputs(model))
    assert contract.halo == FULL.halo()
    assert contract.any_subset
    assert contract.default_statics == "terrain"
    assert model.parameters_count < 0.3e6
    assert model.flops_per_fine_cell < 162_000 / 5


def test_a_trained_network_still_reproduces_a_ramp():
    model = shake(small(), 0.02)
    with torch.no_grad():  # what is not linear in the field has to be silent for this
        for name, parameter in model.named_parameters():
            if "head.head" in name or "between.out" in name or "coefficients" in name or "amplitude" in name:
                parameter.zero_()
    frames, rows = torch.arange(-1.0, 4.0), torch.arange(-12.0, 15.0)
    columns = rows
    ramp = frames[:, None, None] + 0.3 * rows[:, None] - 0.2 * columns
    fine_rows = torch.arange(18) / 6
    truth = (torch.arange(12) / 6)[:, None, None] + 0.3 * fine_rows[:, None] - 0.2 * fine_rows
    with torch.inference_mode():
        fine = model(ramp[None, :, None], torch.tensor(variable_ids(["t2m"])))
    torch.testing.assert_close(fine[0, :, 0], truth, rtol=0, atol=5e-6)


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("blocks", [1, 2])
def test_gradients_confirm_the_declared_reach(registration, blocks):
    model = shake(small(blocks=blocks, registration=registration), 0.3).double()
    reach = model.reach
    assert reach == Reach.space(8 + 2 * blocks) + Reach(before=1, after=2)
    wider = reach + Reach.space(1) + Reach.time(1)  # one more than declared must stay unseen
    inputs = {name: x.double() if x.is_floating_point() else x for name, x in all_inputs(model, 1, 1, 1).items()}
    coarse = coarse_input(wider, channels=len(NAMES)).double()

    def forward(x: torch.Tensor) -> torch.Tensor:
        return model(**(inputs | {"coarse": x[:, 1:-1, :, 1:-1, 1:-1]}))

    assert probe(forward, coarse, wider, 6, 6) == reach


def test_a_tile_equals_the_whole_field():
    model = shake(small())
    inputs = all_inputs(model, frames=3, rows=7, columns=8, batch=2)
    cut = {"coarse": (slice(1, 5), True), "predictor_coarse": (slice(1, 5), True),
           "predictor_coarse_fine_time": (slice(6, 12), True), "static_coarse": (slice(None), True),
           "static_fine": (slice(None), True)}  # fmt: skip
    tile = dict(inputs)
    for name, (frames, _) in cut.items():
        tile[name] = inputs[name][:, frames, :, 2 : 5 + 24, 3 : 7 + 24]
    with torch.inference_mode():
        whole, part = model(**inputs), model(**tile)
    torch.testing.assert_close(part, whole[:, 6:12, :, 12:30, 18:42], rtol=1e-5, atol=1e-5)


def test_any_subset_of_the_variables_gives_what_all_together_give():
    model = shake(small())
    inputs = all_inputs(model)
    alone = inputs | {"coarse": inputs["coarse"][:, :, 1:2], "variable": inputs["variable"][1:2]}
    with torch.inference_mode():
        torch.testing.assert_close(model(**alone), model(**inputs)[:, :, 1:2], rtol=1e-5, atol=1e-5)


def test_which_variable_it_is_matters_once_trained():
    model = shake(small())
    inputs = all_inputs(model)
    other = inputs | {"variable": torch.tensor(variable_ids(["sp", "t2m", "r2"]))}
    with torch.inference_mode():
        assert not torch.allclose(model(**inputs), model(**other), atol=1e-4)


def test_single_frames_give_what_fraction_zero_gives():
    model = shake(small())
    inputs = all_inputs(model)
    with torch.inference_mode():
        fine = model(**inputs)
        statics = (inputs["static_coarse"], inputs["static_fine"])
        frames = model.space(inputs["coarse"][:, 1:3], inputs["variable"], *statics)
    torch.testing.assert_close(fine[:, ::6], frames, rtol=1e-5, atol=1e-5)


def test_a_constant_added_to_a_field_is_added_to_the_output():
    model = shake(small()).double()
    inputs = {name: x.double() if x.is_floating_point() else x for name, x in all_inputs(model).items()}
    with torch.inference_mode():
        shifted = model(**(inputs | {"coarse": inputs["coarse"] + 3}))
        torch.testing.assert_close(shifted, model(**inputs) + 3, rtol=0, atol=1e-5)  # fixed weights are fp32


def test_fractions_given_in_training_equal_those_of_the_factor():
    model = shake(small())
    inputs = all_inputs(model)
    with torch.inference_mode():
        same = model(**inputs, fraction=torch.arange(6)[None] / 6, hours=torch.tensor([6.0]))
        torch.testing.assert_close(same, model(**inputs), rtol=1e-5, atol=1e-5)


def test_statics_and_sun_that_are_unknown_may_be_left_out():
    model = shake(small())
    inputs = all_inputs(model)
    zeros = {name: torch.zeros_like(x) if name.startswith(("static", "predictor")) else x for name, x in inputs.items()}
    with torch.inference_mode():
        assert torch.equal(model(inputs["coarse"], inputs["variable"]), model(**zeros))


def test_the_sun_says_nothing_at_the_frames_themselves():
    parts = torch.randn(1, 3, 3, 4, 5)
    fine = torch.stack([parts[:, :-1], torch.randn(1, 2, 3, 4, 5)], dim=2)
    anomalies = sun_anomalies(parts, fine, torch.tensor([[0.0, 0.4]]))
    assert anomalies.shape == (1, 2, 2, 7, 4, 5)
    assert torch.equal(anomalies[:, :, 0], torch.zeros(1, 2, 7, 4, 5))
    assert torch.equal(sun_features(parts)[..., 0, :, :], torch.relu(parts[..., 0, :, :] + parts[..., 1, :, :]))
