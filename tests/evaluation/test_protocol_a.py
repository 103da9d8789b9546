import csv

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.grid import Registration
from gfs_sr.data.normalization import PRESETS
from gfs_sr.evaluation import protocol_a
from gfs_sr.evaluation.evaluate import Settings, evaluate
from gfs_sr.evaluation.subject import interpolating
from tests import fields
from tests.evaluation.test_evaluate import write_fine

NODE = Registration.NODE


def test_s000_17_the_half_pixel_map_is_off_by_the_offsets_on_record():
    offset = 6 * protocol_a.half_pixel_positions(24, 141) - np.arange(141)
    assert_allclose(offset[[0, 70, 140]], [-2.49, -1.0, 0.49], atol=0.005)  # fine cells
    offset = protocol_a.half_pixel_positions(144, 141) - np.arange(141)
    assert_allclose(offset[[0, 70, 140]], [0.01, 1.5, 2.99], atol=0.005)


def test_s000_17_the_stretched_clock_is_off_by_five_hours_at_the_end():
    frames = np.arange(8.0)[:, None]  # one unit per coarse frame, six hours
    hours = 6 * protocol_a.stretched_spline(frames, 48)[:, 0]
    assert_allclose(hours - np.arange(48), -5 * np.arange(48) / 47, atol=1e-9)


def test_s000_17_the_library_kernel_bends_a_ramp():
    ramp = np.tile(np.arange(24.0), (24, 1))
    resized = protocol_a.resize(ramp, 24, 48)[12]
    position = protocol_a.half_pixel_positions(24, 48)
    t = position - np.floor(position)
    bent = np.floor(position) + t**3 - 1.5 * t**2 + 1.5 * t  # first moment of Keys' kernel at a = -3/4
    assert_allclose(resized[8:40], bent[8:40], atol=1e-12)


def test_the_resize_agrees_with_torch():
    torch = pytest.importorskip("torch")
    coarse = fields.waves(2, 9, 11)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(coarse)[None], size=(50, 47), mode="bicubic", align_corners=False
    )
    assert_allclose(protocol_a.resize(coarse, 50, 47), expected[0].numpy(), atol=1e-12)


def test_the_bicubic_of_protocol_a_is_zero_after_the_coarse_frames():
    made = protocol_a.zero_padded_bicubic(fields.waves(3, 5, 5) + 9, 18, 30, 30)
    assert made[:3].min() > 0
    assert_array_equal(made[3:], 0)


def test_s000_19_protocol_a_writes_the_seed_s_files(tmp_path):
    path = write_fine(tmp_path / "20210301.nc", variables=("t2m", "d2m"))
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), protocol="A"))
    folder = tmp_path
    protocol_a.write_tables(evaluation.cases, folder)
    with (folder / "metrics_test.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["scale", "variable", "metric", "value"]
    assert {row[0] for row in rows[1:]} == {"standard", "destandard"}
    methods = ("model", "bicubic", "tempinterp", "st_combined")
    expected = {f"{method}_{metric}" for method in methods for metric in ("RMSE", "MAE", "PSNR", "SSIM")}
    assert {row[2] for row in rows[1:]} == expected
    tables = sorted(path.name for path in folder.glob("table_*.csv"))
    assert tables == [f"table_{scale}_{name}.csv" for scale in ("destandard", "standard") for name in ("d2m", "t2m")]
    values = {(row[0], row[1], row[2]): float(row[3]) for row in rows[1:]}
    sd = PRESETS["gfs-india-025"].select(("t2m",)).sd[0]
    for method in methods:
        standard, physical = (values[scale, "t2m", f"{method}_RMSE"] for scale in ("standard", "destandard"))
        assert physical == pytest.approx(standard * sd, rel=1e-5)
    assert values["standard", "t2m", "tempinterp_RMSE"] == values["standard", "t2m", "st_combined_RMSE"]


def test_s000_19_protocol_a_scores_equal_a_plain_computation(tmp_path):
    path = write_fine(tmp_path / "20210301.nc")
    evaluation = evaluate(interpolating("bicubic/linear", 6, 6, NODE), Settings((path,), protocol="A"))
    import xarray as xr

    from gfs_sr.data.coarsen import gauss_decimate

    with xr.open_dataset(path) as opened:
        truth = opened["t2m"].to_numpy().astype(np.float64)
    preset = PRESETS["gfs-india-025"].select(("t2m",))
    z = (gauss_decimate(truth[::6], 3.0, 6).astype(np.float32) - preset.mean[0]) / preset.sd[0]
    fine = protocol_a.resize(protocol_a.stretched_spline(z, 15), 31, 37)
    expected = np.sqrt(np.mean((fine - (truth - preset.mean[0]) / preset.sd[0]) ** 2))
    means = evaluation.seed_means()
    assert means["tempinterp", "t2m", "RMSE", "normalized"] == pytest.approx(expected, rel=1e-5)


def test_s000_20_the_seed_s_figures_are_given_for_the_first_days_and_chosen_hours_on_either_scale(tmp_path):
    paths = tuple(write_fine(tmp_path / f"2021030{day}.nc", start=f"2021-03-0{day}T00") for day in (1, 2, 3))
    settings = Settings(paths, protocol="A", examples=2, example_hours=(0, 6))
    examples = evaluate(interpolating("bicubic/linear", 6, 6, NODE), settings).examples
    assert [(each.date, each.variable, each.hour, each.scale) for each in examples] == [
        (f"2021030{day}", "t2m", hour, scale) for day in (1, 2) for hour in (0, 6) for scale in ("std", "destd")
    ]
    for each in examples:
        assert list(each.panels) == ["HR", "Model", "Bicubic", "TempInterp", "ST-Combined"]
        assert {panel.shape for panel in each.panels.values()} == {(31, 37)}
    preset = PRESETS["gfs-india-025"].select(("t2m",))
    standard, physical = examples[2].panels["Model"], examples[3].panels["Model"]
    assert_allclose(physical, standard * preset.sd[0] + preset.mean[0], rtol=1e-5)
