import numpy as np
import pytest
import skimage.metrics
from numpy.testing import assert_allclose

from gfs_sr.errors import UsageError
from gfs_sr.metrics import pointwise, registry
from gfs_sr.metrics.ssim import ssim, ssim_map
from tests import fields


@pytest.fixture
def pair():
    truth = 1e5 + 300 * fields.waves(3, 23, 31)
    return truth + 40 * fields.waves(3, 23, 31, seed=9) + 5, truth


def test_rmse_mae_and_bias_of_a_known_error():
    truth = np.zeros((2, 2))
    prediction = np.array([[1.0, -3.0], [1.0, 1.0]])
    assert pointwise.rmse(prediction, truth) == pytest.approx(np.sqrt(3.0))
    assert pointwise.mae(prediction, truth) == 1.5
    assert pointwise.bias(prediction, truth) == 0.0


def test_area_weights_count_bands_by_their_area():
    # bands of 30 degrees from the pole to the equator hold 1 - √3/2, (√3 - 1)/2 and 1/2 of a hemisphere
    area = np.array([1 - np.sqrt(3) / 2, (np.sqrt(3) - 1) / 2, 0.5])[:, None]
    prediction = np.array([[1.0], [2.0], [3.0]]) * np.ones((1, 4))
    expected = area[0, 0] + 2 * area[1, 0] + 3 * area[2, 0]
    assert pointwise.bias(prediction, np.zeros((3, 4)), area) == pytest.approx(expected)


def test_missing_cells_are_left_out(pair):
    prediction, truth = pair
    holed = prediction.copy()
    holed[:, 3:7, 5] = np.nan
    keep = np.isfinite(holed)
    assert pointwise.rmse(holed, truth) == pytest.approx(np.sqrt(np.mean((prediction - truth)[keep] ** 2)))
    assert np.isnan(pointwise.rmse(np.full((2, 2), np.nan), np.zeros((2, 2))))


def test_psnr_agrees_with_skimage(pair):
    prediction, truth = pair
    expected = skimage.metrics.peak_signal_noise_ratio(truth, prediction, data_range=900.0)
    assert pointwise.psnr(prediction, truth, 900.0) == pytest.approx(expected, abs=1e-6)
    assert pointwise.psnr(truth, truth, 1.0) == float("inf")


def test_correlation_agrees_with_numpy(pair):
    prediction, truth = pair
    expected = np.corrcoef(prediction.ravel(), truth.ravel())[0, 1]
    assert pointwise.correlation(prediction, truth) == pytest.approx(expected, abs=1e-9)
    assert np.isnan(pointwise.correlation(prediction, np.ones_like(truth)))


def test_nrmse_is_in_percent_of_the_mean():
    assert pointwise.nrmse(np.full((2, 2), 11.0), np.full((2, 2), 10.0)) == pytest.approx(10.0)


@pytest.mark.parametrize("data_range", [4.0, 1200.0])
def test_ssim_agrees_with_skimage(pair, data_range):
    for prediction, truth in zip(*pair, strict=True):
        expected = skimage.metrics.structural_similarity(
            truth, prediction, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )  # crops the border as valid windows do
        assert ssim(prediction, truth, data_range) == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_torchmetrics_on_inner_windows():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    truth, prediction = fields.waves(1, 40, 40)[0], fields.waves(1, 40, 40)[0] + 0.3 * fields.waves(1, 40, 40, 4)[0]
    both = [torch.from_numpy(field)[None, None] for field in (prediction, truth)]
    _, full = functional.structural_similarity_index_measure(
        *both, data_range=4.0, return_full_image=True, gaussian_kernel=True, sigma=1.5, kernel_size=11
    )
    inner = full[0, 0].numpy()
    ours = ssim_map(prediction, truth, 4.0)
    off = (inner.shape[0] - ours.shape[0]) // 2
    assert_allclose(ours, inner[off : off + 30, off : off + 30], atol=1e-5)


def test_ssim_of_equal_fields_is_one_and_a_field_smaller_than_a_window_has_none(pair):
    assert ssim(pair[1], pair[1], 100.0) == pytest.approx(1.0)
    assert np.isnan(ssim(np.zeros((8, 30)), np.zeros((8, 30)), 1.0))


def test_ssim_with_zero_border_counts_every_cell(pair):
    truth = pair[1] - pair[1].mean()
    assert ssim_map(truth * 0.9, truth, 4.0, "zero").shape == truth.shape
    assert ssim(truth * 0.9, truth, 4.0, border="zero") != pytest.approx(ssim(truth * 0.9, truth, 4.0))


def test_windows_with_a_missing_cell_are_left_out(pair):
    prediction = pair[0].copy()
    prediction[:, 11, 15] = np.nan
    similarity = ssim_map(prediction, pair[1], 900.0)
    assert np.isnan(similarity).sum() == 3 * 11 * 11
    assert np.isfinite(ssim(prediction, pair[1], 900.0))


def test_metrics_are_found_by_name(pair):
    scene = registry.Scene(*pair, None, 900.0)
    answered = registry.available(scene)
    assert {"RMSE", "MAE", "bias", "PSNR", "SSIM", "correlation", "nRMSE"} <= set(answered)
    assert set(registry.score(answered, scene)) == set(answered)
    with pytest.raises(UsageError, match="unknown metric 'RSME'"):
        registry.score(("RSME",), scene)


def test_relative_error_leaves_out_what_is_too_small_to_divide_by():
    truth = np.array([[0.0, 0.05, 1.0, 4.0]])
    prediction = np.array([[9.0, 9.0, 1.5, 3.0]])
    scene = registry.Scene(prediction[None], truth[None], None, 1.0, variable="tp")
    assert registry.score(["relative error"], scene)["relative error"] == pytest.approx((0.5 + 0.25) / 2)
    assert "relative error" not in registry.metrics_of("t2m")


def test_ssim_of_the_registry_weighs_the_central_cell_of_each_window(pair):
    prediction, truth = pair
    weights = np.linspace(1, 3, 23)[:, None] * np.linspace(1, 2, 31)
    for p, y in zip(prediction, truth, strict=True):
        _, similarity = skimage.metrics.structural_similarity(
            y, p, data_range=900.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        expected = np.average(similarity[5:-5, 5:-5], weights=weights[5:-5, 5:-5])
        scene = registry.Scene(p[None], y[None], weights, 900.0)
        assert registry.score(["SSIM"], scene)["SSIM"] == pytest.approx(expected, abs=1e-6)


def test_correlation_keeps_its_digits_where_pressure_hardly_varies():
    truth = 101250 + 0.5 * fields.waves(2, 30, 40)
    prediction = truth + 0.5 * fields.waves(2, 30, 40, seed=9)
    scene = registry.Scene(prediction, truth, None, 1.0, variable="msl")
    expected = np.corrcoef((prediction - 101250).ravel(), (truth - 101250).ravel())[0, 1]
    assert registry.score(["correlation"], scene)["correlation"] == pytest.approx(expected, abs=1e-9)


def test_a_vector_misses_where_either_component_does():
    truth = np.zeros((1, 2, 2))
    u, v = np.full((1, 2, 2), 3.0), np.full((1, 2, 2), 4.0)
    u[0, 0, 0] = v[0, 1, 1] = np.nan
    v[0, 0, 1] = 0.0
    scene = registry.Scene(u, truth, None, 1.0, partner=registry.Scene(v, truth, None, 1.0))
    assert registry.score(["vector error"], scene)["vector error"] == pytest.approx((3 + 5) / 2)


def test_cells_that_miss_weigh_nothing_in_psnr(pair):
    prediction, truth = pair
    holed = truth.copy()
    holed[:, 3:9, 4:20] = np.nan
    kept = np.isfinite(holed)
    expected = 20 * np.log10(900) - 10 * np.log10(((prediction - truth)[kept] ** 2).mean())
    assert registry.score(["PSNR"], registry.Scene(prediction, holed, None, 900.0))["PSNR"] == pytest.approx(expected)
