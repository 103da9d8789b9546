import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity

from gfs_sr.errors import UsageError
from gfs_sr.training import losses
from gfs_sr.training.losses import (
    LOSSES,
    MIXTURES,
    LossConfig,
    compose,
    pointwise,
    similarity,
    spatial,
    spectral,
    temporal,
)

SHAPE = (2, 3, 1, 4, 5)
ONES = torch.ones(SHAPE)
TARGET = torch.zeros(SHAPE)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal(shape)
    blurred = ndimage.gaussian_filter(noise, (0,) * (len(shape) - 2) + (2, 2))
    return torch.from_numpy(blurred / blurred.std()).float()


# closed forms


def test_s000_11_l1_and_huber_have_their_closed_forms():
    assert pointwise.l1(0.5 * ONES, TARGET, ONES) == pytest.approx(0.5, rel=1e-5)
    assert pointwise.huber(0.5 * ONES, TARGET, ONES) == pytest.approx(0.125, rel=1e-5)  # e²/2
    assert pointwise.huber(3 * ONES, TARGET, ONES) == pytest.approx(2.5, rel=1e-5)  # e - 1/2
    assert pointwise.huber(3 * ONES, TARGET, ONES, delta=2.0) == pytest.approx(2.0, rel=1e-5)  # δ/2 + e - δ


def test_s003_12_mse_has_its_closed_form():
    assert pointwise.mse(3 * ONES, TARGET, ONES) == pytest.approx(9.0, rel=1e-5)


def test_s002_09_charbonnier_at_zero_is_delta_with_gradient_zero():
    error = torch.zeros(SHAPE, dtype=torch.bfloat16, requires_grad=True)
    total, _ = compose(LossConfig({"charbonnier": 1.0}), error, TARGET, ONES)
    total.backward()
    assert total.item() == pytest.approx(1e-3, rel=1e-4)
    assert torch.equal(error.grad, torch.zeros_like(error))
    assert pointwise.charbonnier(3 * ONES, TARGET, ONES, delta=4.0) == pytest.approx(5.0, rel=1e-5)


def test_s000_11_temporal_coherence_is_the_mean_change_that_differs():
    rising = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(SHAPE)
    assert temporal.temporal_coherence(rising, TARGET, ONES) == pytest.approx(1.0, rel=1e-5)
    assert temporal.temporal_coherence(rising, rising + 7, ONES) == 0
    assert temporal.temporal_coherence(rising[:, :1], TARGET[:, :1], ONES[:, :1]) == 0


def test_s000_11_the_gradient_of_a_ramp_is_eight_times_its_slope():
    ramp = torch.arange(9.0).expand(1, 1, 1, 9, 9)
    inner = torch.zeros(1, 1, 1, 9, 9)
    inner[..., 1:-1, 1:-1] = 1  # the rim sees the zeros beyond it
    assert spatial.gradient(0.25 * ramp, torch.zeros_like(ramp), inner) == pytest.approx(2.0, rel=1e-4)


def test_the_gradient_is_that_of_an_independent_sobel_filter():
    fields = [random(1, 2, 2, 7, 9, seed=seed) for seed in (1, 2)]
    lengths = []
    for field in fields:
        planes = [plane.double().numpy() for plane in field.flatten(0, 2)]
        lengths.append(
            [np.hypot(*(ndimage.sobel(plane, axis, mode="constant") for axis in (0, 1))) for plane in planes]
        )
    expected = np.abs(np.subtract(*lengths)).mean()
    assert spatial.gradient(*fields, torch.ones_like(fields[0])) == pytest.approx(expected, rel=1e-4)


def test_s001_08_total_variation_is_the_sum_of_the_mean_steps():
    j, i = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    plane = (2 * i - 3 * j).expand(SHAPE)
    assert spatial.total_variation(plane, TARGET, ONES) == pytest.approx(5.0, rel=1e-5)
    assert spatial.total_variation(7 * ONES, TARGET, ONES) == 0


def test_s001_08_the_second_difference_is_zero_on_a_line_and_has_its_closed_form_off_it():
    before, after, fraction = TARGET, 4 * ONES, 0.25
    assert temporal.bend(before, ONES, after, fraction, ONES) == pytest.approx(0.0, abs=1e-6)
    # (2 - 0)/¼ - (4 - 2)/¾ = 16/3
    assert temporal.bend(before, 2 * ONES, after, fraction, ONES) == pytest.approx(16 / 3, rel=1e-5)
    squares = (torch.arange(3.0) ** 2).reshape(1, 3, 1, 1, 1).expand(SHAPE)
    assert temporal.smooth_in_time(squares, TARGET, ONES) == pytest.approx(4.0, rel=1e-5)  # 2 |0 - 2·1 + 4|
    assert temporal.smooth_in_time(squares[:, :2], TARGET[:, :2], ONES[:, :2]) == 0


@pytest.mark.parametrize("name", ["tv", "d2t"])
def test_s001_08_regularizers_of_weight_zero_are_absent(name):
    _, terms = compose(LossConfig({"l1": 1.0, name: 0.0}), ONES, TARGET, ONES)
    assert set(terms) == {"l1"}


# spectra


def test_s000_12_the_spectrum_of_a_field_against_itself_is_zero_and_against_its_blur_is_not():
    field = random(1, 1, 2, 32, 32)
    mask = torch.ones_like(field)
    blurred = torch.nn.functional.avg_pool2d(field[0], 3, 1, padding=1)[None]
    assert spectral.spectrum(field, field, mask) == 0
    assert spectral.spectrum(blurred, field, mask) > 1e-5


def test_s000_12_the_spectrum_is_that_of_a_plain_numpy_transform():
    fields = [random(1, 1, 1, 26, 35, seed=seed) for seed in (1, 2)]
    curves = []
    for field in fields:
        plane = field.numpy().squeeze().astype(np.float64)
        power = np.abs(np.fft.fft2(plane - plane.mean())) ** 2 / plane.size
        frequency = np.hypot(np.fft.fftfreq(26)[:, None], np.fft.rfftfreq(35))
        power = power[:, : frequency.shape[1]]
        edges = np.linspace(0, frequency.max(), 14)
        edges[-1] += 1e-9
        bins = [(frequency > low) & (frequency <= high) for low, high in pairwise(edges)]
        curve = np.array([power[inside].mean() if inside.any() else 0.0 for inside in bins])
        curves.append(curve / curve.sum())
    expected = np.mean((curves[0] - curves[1]) ** 2)
    assert spectral.spectrum(*fields, torch.ones_like(fields[0])) == pytest.approx(expected, rel=1e-3)


def test_the_spectrum_of_a_wave_stands_at_its_own_frequency():
    size = 32
    wave = torch.cos(2 * math.pi * 5 * torch.arange(size) / size).expand(size, size)
    curve = spectral.normalized(spectral.radial_power(wave[None, None, None]))[0, 0, 0]
    width = math.sqrt(0.5) / 16  # the largest radius of a square field, in 16 bins
    assert int(curve.argmax()) == math.ceil(5 / size / width) - 1
    assert float(curve.sum()) == pytest.approx(1.0, abs=1e-3)
    assert float(curve.max()) > 0.99


# structural similarity


def skimage_ssim(prediction: torch.Tensor, target: torch.Tensor, data_range: float) -> float:
    planes = zip(prediction.flatten(0, 2).double().numpy(), target.flatten(0, 2).double().numpy(), strict=True)
    values = [
        structural_similarity(
            p, y, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for p, y in planes
    ]
    return float(np.mean(values))


def test_s000_11_ssim_equals_scikit_images():
    prediction, target = smooth(2, 2, 1, 20, 27, seed=1), smooth(2, 2, 1, 20, 27, seed=2)
    mask = torch.ones_like(target)
    expected = 1 - skimage_ssim(prediction, target, 4.0)
    assert similarity.ssim(prediction, target, mask) == pytest.approx(expected, rel=1e-4)
    assert similarity.ssim(target, target, mask) == pytest.approx(0.0, abs=1e-6)


def test_s003_12_dssim_is_half_of_one_minus_ssim_from_the_common_least_value_over_the_common_range():
    target = smooth(2, 1, 1, 20, 20, seed=2)
    prediction = target + 0.3 * smooth(2, 1, 1, 20, 20, seed=3)
    both = torch.stack([prediction, target])
    low, span = both.min(), float(both.max() - both.min())
    expected = (1 - skimage_ssim(prediction - low, target - low, span)) / 2
    assert similarity.dssim(prediction, target, torch.ones_like(target)) == pytest.approx(expected, rel=1e-4)


def test_s003_12_dssim_counts_a_constant_bias():
    target = smooth(1, 1, 1, 20, 20)
    ones = torch.ones_like(target)
    assert similarity.dssim(target, target, ones) == pytest.approx(0.0, abs=1e-6)
    assert similarity.dssim(target + 1.5, target, ones) > 0.02


def reference_ms_ssim(prediction: np.ndarray, target: np.ndarray, data_range: float) -> float:
    """Of two planes, by SciPy's filters and scikit-image's block means in float64."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    value = 1.0
    for power in (0.0448, 0.2856, 0.3001, 0.2363):

        def mean(field: np.ndarray) -> np.ndarray:
            return ndimage.gaussian_filter(field, 1.5, truncate=3.5)[5:-5, 5:-5]

        mean_p, mean_y = mean(prediction), mean(target)
        var_p, var_y = mean(prediction**2) - mean_p**2, mean(target**2) - mean_y**2
        contrast = (2 * (mean(prediction * target) - mean_p * mean_y) + c2) / (var_p + var_y + c2)
        luminance = (2 * mean_p * mean_y + c1) / (mean_p**2 + mean_y**2 + c1)
        value *= (contrast * luminance if power == 0.2363 else contrast).mean() ** power
        prediction, target = (block_reduce(each, (2, 2), np.mean) for each in (prediction, target))
    return value


@pytest.mark.parametrize("shape", [(2, 1, 1, 88, 88), (1, 2, 1, 96, 120)], ids=str)
def test_s003_12_msdssim_is_half_of_one_minus_ms_ssim(shape):
    target = smooth(*shape, seed=2)
    prediction = target + 0.4 * smooth(*shape, seed=3)
    both = torch.stack([prediction, target])
    low, span = both.min(), float(both.max() - both.min())
    planes = zip(*((each - low).flatten(0, 2).double().numpy() for each in (prediction, target)), strict=True)
    expected = (1 - np.mean([reference_ms_ssim(p, y, span) for p, y in planes])) / 2
    assert similarity.msdssim(prediction, target, torch.ones_like(target)) == pytest.approx(expected, rel=1e-4)


def test_s003_12_msdssim_below_a_side_of_88_is_refused():
    field = random(1, 1, 1, 96, 87)
    with pytest.raises(UsageError, match="88 cells a side, these have 96 by 87"):
        compose(LossConfig({"msdssim": 1.0}), field, field, torch.ones_like(field))


def test_fields_smaller_than_a_window_are_refused():
    field = random(1, 1, 1, 10, 20)
    with pytest.raises(UsageError, match="11 cells a side"):
        compose(LossConfig({"ssim": 1.0}), field, field, torch.ones_like(field))


# mixtures


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("mae", {"l1": 1.0}),
        ("mse", {"mse": 1.0}),
        ("dssim", {"dssim": 1.0}),
        ("dssim_mae", {"dssim": 0.8, "l1": 0.2}),
        ("dssim_mse", {"dssim": 0.8, "mse": 0.2}),
        ("dssim_mae_mse", {"dssim": 0.6, "l1": 0.2, "mse": 0.2}),
        ("msdssim", {"msdssim": 1.0}),
        ("msdssim_mae", {"msdssim": 0.8, "l1": 0.2}),
        ("msdssim_mse", {"msdssim": 0.8, "mse": 0.2}),
        ("msdssim_mae_mse", {"msdssim": 0.6, "l1": 0.2, "mse": 0.2}),
    ],
)
def test_s003_12_each_named_mixture_is_its_weighted_sum(name, shares):
    target = smooth(1, 1, 1, 88, 88, seed=1)
    prediction = target + 0.2 * smooth(1, 1, 1, 88, 88, seed=2)
    ones = torch.ones_like(target)
    total, terms = compose(LossConfig({name: 2.0}), prediction, target, ones)
    expected = sum(share * LOSSES[term].value(prediction, target, ones) for term, share in shares.items())
    assert set(terms) == set(shares)
    assert float(total) == pytest.approx(2 * float(expected), rel=1e-6)


def test_a_mixture_and_its_own_term_add_up():
    total, terms = compose(LossConfig({"mae": 1.0, "l1": 2.0}), ONES, TARGET, ONES)
    assert set(terms) == {"l1"}
    assert float(total) == pytest.approx(3.0, rel=1e-5)


# masks, areas, precision: what every loss of the registry keeps

SIDE = 88


def arguments(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction, target and a mask with a hole, a scattered cell and a whole frame masked."""
    prediction = smooth(1, 4, 2, SIDE, SIDE, seed=seed).requires_grad_()
    target = smooth(1, 4, 2, SIDE, SIDE, seed=seed + 1)
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[..., 30:50, 20:45] = False
    mask[..., 3, 80] = False
    mask[:, 3, 1] = False
    return prediction, target, mask


@pytest.mark.parametrize("name", [*LOSSES, *MIXTURES])
def test_s000_11_masked_cells_give_no_gradient_and_no_value(name):
    prediction, target, mask = arguments()
    config = LossConfig({name: 1.0})
    total, _ = compose(config, prediction, torch.where(mask, target, torch.nan), mask)
    (gradient,) = torch.autograd.grad(total, prediction)
    assert torch.isfinite(gradient).all()
    assert torch.equal(gradient[~mask], torch.zeros_like(gradient[~mask]))
    assert gradient[mask].abs().max() > 0
    elsewhere = torch.where(mask, prediction, 5.0)
    again, _ = compose(config, elsewhere, torch.where(mask, target, -9.0), mask)
    assert again.item() == total.item()


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("tv", "d2t")])
def test_a_hole_makes_no_error_of_its_own(name):
    _, target, mask = arguments()
    total, _ = compose(LossConfig({name: 1.0}), target, target, mask)
    assert float(total) == pytest.approx(1e-3 if name == "charbonnier" else 0.0, abs=2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_a_batch_without_a_valid_cell_are_zero(name):
    prediction, target, mask = arguments()
    total, _ = compose(LossConfig({name: 1.0}), prediction, target * torch.nan, torch.zeros_like(mask))
    (gradient,) = torch.autograd.grad(total, prediction)
    assert total.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("name", LOSSES)
def test_s000_12_every_loss_is_float32_under_autocast(name):
    prediction, target, mask = arguments()
    plain, _ = compose(LossConfig({name: 1.0}), prediction, target, mask)
    with torch.autocast("cpu", torch.bfloat16):
        cast, _ = compose(LossConfig({name: 1.0}), prediction, target, mask)
    assert cast.dtype == torch.float32
    assert torch.isfinite(cast)
    assert cast.item() == pytest.approx(plain.item(), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("psd", "dssim", "msdssim", "ssim")])
def test_area_weights_are_those_of_the_mean(name):
    # the error grows from north to south in steps, so that a weighted mean differs from a plain one
    rows = torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 1])[:, None]
    error = rows.expand(1, 3, 1, 8, 6) * torch.tensor([1.0, -1.0, 1.0]).reshape(1, 3, 1, 1, 1)
    north = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).reshape(1, 1, 1, 8, 1)
    target = torch.zeros_like(error)
    weighted, _ = compose(LossConfig({name: 1.0}), error, target, torch.ones_like(error), 1 - north)
    south = LOSSES[name].value(error[..., 4:, :], target[..., 4:, :], torch.ones_like(error[..., 4:, :]))
    if name in ("grad", "tv"):  # the step between the halves has a share
        assert float(weighted) > 0
        none, _ = compose(LossConfig({name: 1.0}), torch.flip(error, (-2,)), target, torch.ones_like(error), 1 - north)
        assert float(none) < float(weighted) + 1e-6
    else:
        assert float(weighted) == pytest.approx(float(south), rel=1e-4)


@pytest.mark.parametrize("name", ["ssim", "msdssim", "dssim"])
def test_area_weights_choose_the_windows_of_similarity(name):
    target = smooth(1, 1, 1, 176, 88, seed=1)
    prediction = target.clone()
    prediction[..., :88, :] += 0.5 * smooth(1, 1, 1, 88, 88, seed=2)
    north = torch.zeros(1, 1, 1, 176, 1)
    north[..., :88, :] = 1.0
    ones = torch.ones_like(target)
    upper, _ = compose(LossConfig({name: 1.0}), prediction, target, ones, north)
    lower, _ = compose(LossConfig({name: 1.0}), prediction, target, ones, 1 - north)
    assert float(upper) > 5 * float(lower)


def test_s000_25_masked_targets_leave_the_loss_of_the_valid_cells():
    prediction, target = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    mask = random(*SHAPE, seed=3) > -0.2
    total, _ = compose(LossConfig({"l1": 1.0}), prediction, torch.where(mask, target, torch.nan), mask)
    valid = mask.numpy()
    assert float(total) == pytest.approx(np.abs(prediction.numpy() - target.numpy())[valid].mean(), rel=1e-5)


def test_a_masked_window_has_the_moments_of_its_valid_cells():
    """One window, half of it masked: SSIM from sums over the other half, by hand."""
    prediction, target = random(1, 1, 1, 11, 11, seed=1), random(1, 1, 1, 11, 11, seed=2)
    mask = torch.ones_like(target)
    mask[..., 6:] = 0
    offsets = np.arange(11) - 5
    kernel = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / 1.5**2) * mask.numpy().squeeze()
    kernel /= kernel.sum()
    p, y = (each.numpy().squeeze().astype(np.float64) for each in (prediction, target))
    mean_p, mean_y = (kernel * p).sum(), (kernel * y).sum()
    var_p, var_y = (kernel * (p - mean_p) ** 2).sum(), (kernel * (y - mean_y) ** 2).sum()
    covariance = (kernel * (p - mean_p) * (y - mean_y)).sum()
    c1, c2 = (0.01 * 4) ** 2, (0.03 * 4) ** 2
    expected = (2 * mean_p * mean_y + c1) * (2 * covariance + c2)
    expected /= (mean_p**2 + mean_y**2 + c1) * (var_p + var_y + c2)
    assert similarity.ssim(prediction, target, mask) == pytest.approx(1 - expected, rel=1e-4)


# configuration


def test_s000_11_a_term_of_weight_zero_is_not_computed(monkeypatch):
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("computed")

    monkeypatch.setitem(LOSSES, "psd", losses.Loss(refuse))
    total, terms = compose(LossConfig({"l1": 2.0, "psd": 0.0}), ONES, TARGET, ONES)
    assert set(terms) == {"l1"}
    assert float(total) == pytest.approx(2.0, rel=1e-5)


def test_settings_reach_their_terms():
    three = 3 * ONES
    total, _ = compose(LossConfig({"huber": 1.0}, huber_delta=2.0), three, TARGET, ONES)
    assert float(total) == pytest.approx(2.0, rel=1e-5)
    total, _ = compose(LossConfig({"charbonnier": 1.0}, charbonnier_delta=4.0), three, TARGET, ONES)
    assert float(total) == pytest.approx(5.0, rel=1e-5)
    field = smooth(1, 1, 1, 20, 20)
    narrow, _ = compose(LossConfig({"ssim": 1.0}, data_range=1.0), 0.5 * field, field, torch.ones_like(field))
    wide, _ = compose(LossConfig({"ssim": 1.0}, data_range=9.0), 0.5 * field, field, torch.ones_like(field))
    assert float(narrow) > float(wide)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weights": {"rmse": 1.0}}, "unknown loss rmse"),
        ({"weights": {"l1": -1.0}}, "negative"),
        ({"huber_delta": 0.0}, "above 0"),
        ({"weights": {"ssim": 1.0}, "relative": True}, "relative errors are all that is left for ssim"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        LossConfig(**settings)


def test_samples_that_suit_no_term_are_refused_before_the_first_step():
    with pytest.raises(UsageError, match="msdssim needs fields of 88"):
        LossConfig({"msdssim_mae": 1.0}).check(60, even_frames=True)
    with pytest.raises(UsageError, match="have 84 by 84"):
        LossConfig({"msdssim_mae": 1.0}, buffer=2).check(88, even_frames=True)
    with pytest.raises(ValueError, match="evenly spaced"):
        LossConfig({"d2t": 1.0}).check(60, even_frames=False)


def test_the_relative_scale_is_the_baselines_error():
    base = torch.stack([torch.full((1, 1, 3, 3), 2.0), torch.full((1, 1, 3, 3), 8.0)])
    scale = losses.relative_scale(base, torch.zeros_like(base), torch.ones_like(base), own=0.5)
    torch.testing.assert_close(
        scale.flatten(), torch.tensor([2.0**0.5 * 4**0.5, 8.0**0.5 * 4**0.5])
    )  # √(own · geometric mean)


# whole samples


def sample(error: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"fine": torch.zeros_like(error), "mask": torch.ones_like(error, dtype=torch.bool)}


def test_s004_11_variables_have_their_weights_and_their_own_lines_in_the_log():
    error = torch.ones(2, 1, 3, 4, 4) * torch.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1, 1)
    config = LossConfig({"l1": 1.0}, variables={"tp": 0.3, "t2m": 0.0})
    names = [["t2m", "tp", "r2"]] * 2
    total, terms = losses.sample_loss(config, sample(error), error, torch.zeros_like(error), names)
    assert total.item() == pytest.approx(0.3 * 2 + 4, rel=1e-5)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx({"l1/tp": 2.0, "l1/other": 4.0})


def test_s004_11_weights_follow_the_variable_of_each_sample():
    error = torch.stack([torch.full((1, 1, 4, 4), 1.0), torch.full((1, 1, 4, 4), 3.0)])
    config = LossConfig({"l1": 1.0}, variables={"tp": 0.5})
    total, _ = losses.sample_loss(config, sample(error), error, torch.zeros_like(error), [["t2m"], ["tp"]])
    assert total.item() == pytest.approx(1 + 0.5 * 3, rel=1e-5)


def test_s004_11_the_loss_buffer_excludes_the_rim():
    error = torch.full((1, 1, 1, 6, 6), 7.0)
    error[..., 2:-2, 2:-2] = 1.0
    total, _ = losses.sample_loss(LossConfig({"l1": 1.0}, buffer=2), sample(error), error, torch.zeros_like(error))
    assert total.item() == pytest.approx(1.0, rel=1e-5)


def test_samples_carry_their_own_area():
    error = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 2, 1).expand(1, 1, 1, 2, 4)
    part = sample(error) | {"area": torch.tensor([3.0, 1.0]).reshape(1, 1, 1, 2, 1)}
    total, _ = losses.sample_loss(LossConfig({"l1": 1.0}), part, error, torch.zeros_like(error))
    assert total.item() == pytest.approx(1.5, rel=1e-5)


def test_a_hole_has_no_part_in_the_stencils_around_it():
    """A constant error has no gradient of its own; the hole, and the edge of the field, would make one."""
    target = smooth(1, 1, 1, 20, 20)
    mask = torch.ones_like(target)
    mask[..., 8:12, 6:9] = 0
    mask[..., [0, -1], :] = mask[..., [0, -1]] = 0
    total, _ = compose(LossConfig({"grad": 1.0}), target + 3, target, mask)
    assert total.item() == pytest.approx(0.0, abs=1e-5)


def test_a_hole_makes_no_cliff_in_the_spectrum():
    """Far from zero as near it: a hole filled with zeros would be most of the power."""
    target = smooth(1, 1, 1, 32, 32, seed=1)
    prediction = target + 0.5 * smooth(1, 1, 1, 32, 32, seed=2)
    mask = torch.ones_like(target)
    mask[..., 8:20, 6:19] = 0
    near, _ = compose(LossConfig({"psd": 1.0}), prediction, target, mask)
    far, _ = compose(LossConfig({"psd": 1.0}), prediction + 50, target + 50, mask)
    assert far.item() == pytest.approx(near.item(), rel=1e-2)
