"""Fits without gradients find what made the data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gfs_sr import models
from gfs_sr.data.solar import solar_components
from gfs_sr.models.fused import Fused
from gfs_sr.models.fused_residual import LINEAR_SIZE
from gfs_sr.models.fused_variables import CLASSES
from gfs_sr.training.closed_form import damp, fit_filter, fit_sun
from gfs_sr.training.field_set import FieldSet

S = 2
CORE = 12


def network(registration: str = "node") -> Fused:
    made = models.build(
        {"family": "fused", "width": 4, "blocks": 1, "scale_factor": S, "time_factor": 3, "interval_hours": 3.0,
         "registration": registration, "sharpening": 0.1}
    )  # fmt: skip
    assert isinstance(made, Fused)
    return made


class FilteredNoise:
    """Samples whose truth is the base plus a known filter of the coarse field's Laplacian."""

    def __init__(self, made: Fused, kernel: np.ndarray) -> None:
        self.made, self.kernel = made, kernel
        self.stream = SimpleNamespace(batch=4)

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        cells = CORE + 2 * self.made.cells
        coarse = rng.standard_normal((1, 1, cells, cells)).astype(np.float32)
        wide = coarse[0, 0].astype(np.float64)
        curvature = sum(np.roll(wide, shift, axis) for axis in (0, 1) for shift in (1, -1)) - 4 * wide
        reach, first = LINEAR_SIZE // 2, self.made.cells
        residual = np.zeros((S * CORE, S * CORE))
        for y in range(S):
            for x in range(S):
                for i in range(LINEAR_SIZE):
                    for j in range(LINEAR_SIZE):
                        rows = slice(first + i - reach, first + i - reach + CORE)
                        columns = slice(first + j - reach, first + j - reach + CORE)
                        residual[y::S, x::S] += self.kernel[y * S + x, i, j] * curvature[rows, columns]
        with torch.no_grad():
            base = self.made.space_baseline(torch.from_numpy(coarse)[None])[0].numpy()
        fine = (base + residual).astype(np.float32)
        return {"coarse": coarse, "fine": fine, "mask": np.ones(fine.shape, bool)}


@pytest.mark.parametrize("registration", ["node", "cell"])
def test_the_linear_fit_recovers_a_known_filter(registration):
    made = network(registration)
    kernel = np.random.default_rng(1).normal(0, 0.05, (S * S, LINEAR_SIZE, LINEAR_SIZE))
    fit_filter(made, [FilteredNoise(made, kernel)], batches=3, seed=0, ridge=1e-10)
    np.testing.assert_allclose(made.residual.linear.weight[:, 0].detach().numpy(), kernel, rtol=0, atol=1e-4)


def test_masked_cells_have_no_part_in_the_filter():
    made = network()
    kernel = np.zeros((S * S, LINEAR_SIZE, LINEAR_SIZE))
    kernel[:, 4, 4] = 0.1
    clean = FilteredNoise(made, kernel)

    class Spoilt(FilteredNoise):
        def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
            sample = clean.draw(rng)
            sample["fine"][..., :8, :] = 1e3
            sample["mask"][..., :8, :] = False
            return sample

    fit_filter(made, [Spoilt(made, kernel)], batches=3, seed=0, ridge=1e-10)
    np.testing.assert_allclose(made.residual.linear.weight[:, 0].detach().numpy(), kernel, rtol=0, atol=1e-4)


def test_the_fit_to_the_sun_recovers_a_known_response():
    hours = np.datetime64("2024-06-01", "ns") + np.arange(96) * np.timedelta64(1, "h")
    lat, lon = np.linspace(60, 20, 5), np.linspace(0, 80, 5)
    zenith = solar_components(hours, lat, lon)[:, :2].sum(axis=1)
    speed = 5 + 0.7 * np.maximum(zenith, 0)
    fields = FieldSet("a", "a", ("wspd",), speed[None].astype(np.float32), hours, lat, lon)
    made = network()
    fit_sun(made, [fields], ridge=1e-9)
    found = made.residual.between.amplitude.weight.detach()
    expected = torch.zeros_like(found)
    expected[CLASSES.index("speed"), 0] = 0.7  # daylight now, in m/s
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize(("step_hours", "variable"), [(2, "wspd"), (1, "u10")])
def test_the_sun_is_fitted_to_hourly_series_of_what_carries_over_only(step_hours, variable):
    times = np.datetime64("2024-06-01", "ns") + np.arange(48) * np.timedelta64(step_hours, "h")
    values = np.random.default_rng(0).standard_normal((1, 48, 4, 4)).astype(np.float32)
    made = network()
    fit_sun(made, [FieldSet("a", "a", (variable,), values, times, np.arange(4.0)[::-1], np.arange(4.0))], 0.02)
    assert not made.residual.between.amplitude.weight.any()


def test_damping_scales_the_changes_between_frames_and_nothing_else():
    width = 4
    layer = torch.nn.Conv2d(3, width + 11, 1)
    before = layer.weight.detach().clone()
    damp(layer, width, 0.5)
    changed = (layer.weight != before).flatten(1).any(dim=1).nonzero().flatten().tolist()
    assert changed == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]  # not the strength of the filter
    assert F.l1_loss(layer.weight[changed], before[changed] * 0.5) == 0
