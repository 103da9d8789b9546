import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.data.grid import Registration
from gfs_sr.data.interpolation import BASELINES
from gfs_sr.data.resampling import Closure
from gfs_sr.data.sharpening import sharpen
from gfs_sr.models.interpolation import SPACE_KERNELS, TIME_KERNELS, Interpolation, Sharpening, pad_edges, phases
from gfs_sr.models.receptive_field import Reach, probe


def ramp(frames: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """1 + 2t - 0.5y + 0.25x at the given positions, (1, T, 1, H, W)."""
    field = 1 + 2 * frames[:, None, None] - 0.5 * rows[:, None] + 0.25 * columns
    return torch.from_numpy(field[None, :, None]).float()


def with_halo(size: int, before: int, after: int) -> np.ndarray:
    return np.arange(-before, size + after, dtype=np.float64)


def fine_positions(size: int, factor: int, registration: Registration) -> np.ndarray:
    return (np.arange(size)[:, None] + np.array(phases(factor, registration))).ravel()


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize(("s", "r"), [(1, 1), (2, 3), (6, 6), (5, 2)])
@pytest.mark.parametrize("space", ["bilinear", "bicubic"])
@pytest.mark.parametrize("time", ["linear", "catmull_rom"])
@pytest.mark.parametrize("sharpening", [0.0, 0.125])
def test_a_ramp_in_space_and_time_is_exact(registration, s, r, space, time, sharpening):
    layer = Interpolation(s, r, registration, space, time, sharpening)
    reach = layer.reach
    coarse = ramp(
        with_halo(3, reach.before, reach.after),
        with_halo(4, reach.north, reach.south),
        with_halo(5, reach.west, reach.east),
    )
    fine = ramp(
        fine_positions(3, r, Registration.NODE), fine_positions(4, s, registration), fine_positions(5, s, registration)
    )
    torch.testing.assert_close(layer(coarse), fine, rtol=0, atol=3e-6)  # values to 8, fp32


@pytest.mark.parametrize("space", SPACE_KERNELS)
@pytest.mark.parametrize("time", TIME_KERNELS)
def test_under_node_the_coarse_values_stay_where_they_are_bitwise(space, time):
    layer = Interpolation(6, 6, Registration.NODE, space, time)
    reach = layer.reach
    coarse = torch.randn(
        1, 2 + reach.before + reach.after, 3, 4 + reach.north + reach.south, 5 + reach.west + reach.east
    )
    kept = coarse[:, reach.before : reach.before + 2, :, reach.north : reach.north + 4, reach.west : reach.west + 5]
    assert torch.equal(layer(coarse)[:, ::6, :, ::6, ::6], kept)


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("space", SPACE_KERNELS)
@pytest.mark.parametrize("time", TIME_KERNELS)
@pytest.mark.parametrize("sharpening", [0.0, 0.2])
def test_gradients_confirm_the_declared_reach(registration, space, time, sharpening):
    layer = Interpolation(4, 3, registration, space, time, sharpening).double()
    reach = layer.reach
    margin = Reach.space(1) + Reach.time(1)  # one more than declared, which must stay unseen
    halo = reach + margin
    size = (1, 1 + halo.before + halo.after, 1, 1 + halo.north + halo.south, 1 + halo.west + halo.east)
    seen = probe(lambda x: layer.within(x, halo), torch.randn(size, dtype=torch.float64), halo, 4, 3)
    assert seen == reach


def test_sharpening_undoes_its_own_blur_to_first_order():
    rows = torch.arange(20.0, dtype=torch.float64)
    wave = torch.sin(0.3 * rows)[:, None].expand(20, 20)[None, None, None].contiguous()
    blurred = wave * (1 - 0.125 * 0.3**2)  # what a blur of variance 0.25 leaves of a wave, to first order
    layer = Interpolation(1, 1, Registration.NODE, sharpening=0.125).double()
    restored = layer(blurred)
    assert (restored - wave[..., 2:-2, 2:-2]).abs().max() < 3e-4 < (blurred - wave).abs().max()


def test_x_1_the_interpolation_family_has_a_contract_that_names_its_inputs():
    model = models.build({"family": "interpolation", "scale_factor": 4, "time_factor": 3, "variables": ["t2m", "sp"]})
    contract = model.make_contract(name="bicubic")
    assert contract.graph_inputs() == ("coarse", "variable")
    assert (contract.halo.north, contract.halo.south, contract.halo.after) == (1, 2, 1)
    assert contract.normalization["sp"].mean == 97000


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("space", SPACE_KERNELS)
@pytest.mark.parametrize("time", TIME_KERNELS)
@pytest.mark.parametrize(("s", "r"), [(6, 6), (3, 1), (1, 2)])
def test_it_equals_its_numpy_twin_inside_the_hull(registration, space, time, s, r):
    coarse = np.random.default_rng(0).standard_normal((4, 2, 7, 6))
    truth = BASELINES[f"{space}/{time}"](coarse, s, r, registration, closure=Closure.EDGE)
    layer = Interpolation(s, r, registration, space, time).double()
    fine = layer(pad_edges(torch.from_numpy(coarse)[None], layer.reach))[0].numpy()
    assert fine.shape == truth.shape
    offset = 0 if registration is Registration.NODE else (s - 1 + 1) // 2  # outside the hull the twin holds
    rows, columns = (slice(offset, s * (n - 1) + 1 + (offset and s - 1 - offset)) for n in coarse.shape[2:])
    inside = (slice(0, r * 3 + 1), slice(None), rows, columns)
    np.testing.assert_allclose(fine[inside], truth[inside], rtol=0, atol=5e-7)  # weights are kept in fp32


@pytest.mark.parametrize("registration", list(Registration))
@pytest.mark.parametrize("amount", [0.05, 0.22])
def test_the_sharpening_layer_equals_its_numpy_twin(registration, amount):
    coarse = np.random.default_rng(0).standard_normal((2, 9, 8))
    layer = Sharpening(amount, registration).double()
    inner = layer(torch.from_numpy(coarse)[:, None])[:, 0].numpy()
    rim = layer.reach.north
    truth = sharpen(coarse, amount, registration)[:, rim:-rim, rim:-rim]
    np.testing.assert_allclose(inner, truth, rtol=0, atol=1e-6)  # weights are kept in fp32
