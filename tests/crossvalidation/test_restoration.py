"""Restoration rates of networks and interpolations, by fraction, on all times and where most happens."""

import csv

import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver
from PIL import Image

from crossvalidation import pictures
from crossvalidation.between import INTERPOLATIONS, coarse_frames, interpolation, network, seen_flows
from crossvalidation.restoration import ALL, TRANSITIONS, Restoration, main, restorations, summary
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import save_checkpoint
from gfs_sr.training.field_set import FieldSet, write_packed
from tests.export.checkpoints import make_checkpoint
from tests.fields import waves

NARROW = {"family": "temdeep_narrow", "width": 6, "variables": ["t2m", "u10", "v10"]}
R = 3


@pytest.fixture(scope="module")
def source() -> FieldSet:
    """Travelling waves of three variables, with a jump in one interval."""
    values = np.stack([280 + waves(14, 15, 18, 1), waves(14, 15, 18, 2), waves(14, 15, 18, 3)]).astype(np.float32)
    values[:, 8:] += 4
    times = np.datetime64("2024-01-01", "ns") + np.arange(14) * np.timedelta64(1, "h")
    lat, lon = 60 - 2.0 * np.arange(15), 5 + 2.0 * np.arange(18)
    return FieldSet("here-0", "here", ("t2m", "u10", "v10"), values, times, lat, lon, provenance={})


def truth(fields: FieldSet, r: int) -> np.ndarray:
    return fields.values[:, : coarse_frames(fields, r)[-1] + 1]


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_methods_are_given_every_third_frame_and_nothing_else(source, name):
    blind = FieldSet("b", "b", source.variables, source.values.copy(), source.times, source.lat, source.lon)
    between = np.arange(14) % R > 0
    blind.values[:, between] = 250
    np.testing.assert_allclose(interpolation(name)(source, R), interpolation(name)(blind, R))


def test_an_untrained_network_is_the_line_whatever_lies_between(source):
    line = interpolation("linear")(source, R)
    made = network(make_checkpoint(NARROW))(source, R)
    assert made.shape == line.shape == (3, 13, 15, 18)
    np.testing.assert_allclose(made, line, atol=2e-3)  # fp32 of 280 K, through units
    shaken = network(make_checkpoint(NARROW, spread=0.1))(source, R)
    assert np.abs(shaken - line)[:, 1::3].max() > 0.05
    np.testing.assert_allclose(shaken[:, ::3], line[:, ::3], atol=2e-3)


def test_s001_19_every_fraction_has_its_scores_and_all_together(source):
    methods = {"linear": interpolation("linear"), "truth": truth}
    lines = list(restorations(source, R, methods))
    keys = {(line.variable, line.fraction, line.times, line.method) for line in lines}
    assert len(keys) == len(lines) == 3 * R * 2 * 2
    assert {line.fraction for line in lines} == {0, 0.3333, 0.6667}
    for line in lines:
        assert line.restoration == (1 if line.method == "truth" else 0)
        assert np.isfinite(line.ssim)
        assert np.isfinite(line.vector_error) == (line.variable == "u10")
    # by hand: linear in time, at one third
    area = np.cos(np.deg2rad(source.lat))[:, None]
    error = (2 * source.values[0, 0:10:3] + source.values[0, 3:13:3]) / 3 - source.values[0, 1:13:3]
    weight = np.broadcast_to(area, error.shape)
    expected = np.sqrt((weight * error.astype(float) ** 2).sum() / weight.sum())
    (found,) = [
        line
        for line in lines
        if (line.variable, line.fraction, line.times, line.method) == ("t2m", 0.3333, ALL, "linear")
    ]
    assert found.rmse == pytest.approx(expected, rel=1e-4)
    assert found.frames == 4


def test_s001_19_transitions_are_the_intervals_in_which_most_happens(source):
    half = lambda fields, r: (truth(fields, r) + interpolation("linear")(fields, r)) / 2  # noqa: E731
    lines = [line for line in restorations(source, R, {"half": half}) if not line.fraction]
    assert all(line.restoration == pytest.approx(0.75, abs=1e-3) for line in lines)
    by_times = {times: [line for line in lines if line.times == times] for times in (ALL, TRANSITIONS)}
    assert {line.frames for line in by_times[ALL]} == {8}
    assert all(line.frames in (2, 4) for line in by_times[TRANSITIONS])  # of four intervals, above the 70th percentile
    for everything, busy in zip(by_times[ALL], by_times[TRANSITIONS], strict=True):
        assert busy.rmse > everything.rmse  # the jump is there


def test_a_variable_that_follows_a_line_has_no_rate(source):
    still = FieldSet(
        "s", "s", ("t2m",), np.full((1, 14, 15, 18), 280, np.float32), source.times, source.lat, source.lon
    )
    assert not list(restorations(still, R, {"linear": interpolation("linear")}))


def test_s001_19_the_command_writes_a_line_each_and_a_table(source, tmp_path, capsys):
    write_packed([source], tmp_path / "set.npz")
    save_checkpoint(make_checkpoint(NARROW, spread=0.05), tmp_path / "mine.ckpt")
    arguments = ["--ckpt", str(tmp_path / "mine.ckpt"), "--packed", str(tmp_path / "set.npz"), "--sources", "here",
                 "--time-factors", "3", "4", "-o", str(tmp_path / "rates.csv")]  # fmt: skip
    assert main(arguments) == 0
    with (tmp_path / "rates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {*INTERPOLATIONS, "mine"}
    assert len(rows) == 3 * (3 + 4) * 2 * 6
    table = capsys.readouterr().out
    assert table == (tmp_path / "rates.md").read_text()
    assert "| 3 | transitions | 3 |" in table
    assert main([*arguments, "--sources", "nowhere"]) == 2
    assert "no source 'nowhere'" in capsys.readouterr().err


def test_the_table_marks_the_best_of_each_row(source):
    lines = list(
        restorations(source, R, {name: interpolation(name) for name in ("linear", "pchip")} | {"truth": truth})
    )
    assert all(row.count("**100.0 %**") == 1 for row in summary(lines).splitlines() if row.startswith("| here"))


def rate(source: str, variable: str, method: str, restoration: float, hours: float = 3.0) -> Restoration:
    scores = {"rmse": 1.0, "mae": 1.0, "psnr": 1.0, "ssim": 1.0, "vector_error": 1.0}
    return Restoration(source, variable, 3, hours, 0.0, ALL, method, 8, restoration=restoration, **scores)


def test_s001_19_the_table_has_every_rival_by_group_of_variables_and_interval():
    lines = [
        rate("a", "u10", "pchip", 0.1), rate("a", "wspd", "pchip", 0.3), rate("b", "u10", "pchip", -0.1),
        rate("a", "u10", "mine", 0.2), rate("a", "wspd", "mine", 0.2), rate("b", "u10", "mine", 0.2),
        rate("a", "d2m", "pchip", 0.02), rate("a", "r2", "pchip", 0.04), rate("a", "r@700", "pchip", 0.06),
        rate("a", "sp", "pchip", 0.5), rate("a", "sp", "mine", 0.4), rate("a", "LWdown", "mine", 0.7),
        rate("a", "t2m", "mine", 0.6, 6.0), rate("a", "t2m", "linear", 0.0, 6.0),
    ]  # fmt: skip
    _, by_group, by_line = (block.splitlines() for block in summary(lines).split("\n\n"))
    assert by_group == [
        "| group | hours | times | lines | pchip | mine |",
        "|---|---|---|---|---|---|",
        "| wind | 3 | all | 3 | 10.0 % | **20.0 %** |",
        "| pressure | 3 | all | 1 | **50.0 %** | 40.0 % |",
        "| humidity | 3 | all | 3 | **4.0 %** | nan % |",
        "| other | 3 | all | 1 | nan % | **70.0 %** |",
        "| temperature | 6 | all | 1 | nan % | **60.0 %** |",
    ]
    assert by_line[0].startswith("| source |")


def test_a_network_of_space_is_refused():
    with pytest.raises(UsageError, match="no frames at any time"):
        network(make_checkpoint({"family": "fused", "width": 6, "blocks": 1}))


def test_s001_19_the_command_draws_rates_strips_errors_and_where_things_go(source, tmp_path, capsys):
    write_packed([source], tmp_path / "set.npz")
    save_checkpoint(make_checkpoint(NARROW, spread=0.05), tmp_path / "mine.ckpt")
    folder = tmp_path / "figures"
    arguments = ["--ckpt", str(tmp_path / "mine.ckpt"), "--packed", str(tmp_path / "set.npz"), "--sources", "here",
                 "--variables", "t2m", "--time-factors", "3", "--figures", str(folder),
                 "-o", str(tmp_path / "rates.csv")]  # fmt: skip
    assert main(arguments) == 0
    capsys.readouterr()
    drawn = {path.name: Image.open(path) for path in folder.iterdir()}
    assert set(drawn) == {"rates-3h.png", *(f"here-0-t2m-{name}.png" for name in ("strip", "errors", "flow-mine"))}
    assert all(len(image.getcolors(1 << 20)) > 20 and min(image.size) > 300 for image in drawn.values())


def test_s001_19_rates_are_drawn_by_fraction_as_they_were_scored(source):
    methods = {"linear": interpolation("linear"), "truth": truth, "pchip": interpolation("pchip")}
    lines = list(restorations(source, R, methods))
    (axis,) = pictures.rates(lines, 3.0).figure.axes
    strands = {line.get_label(): line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0]}
    truthful, other = strands.values()
    np.testing.assert_allclose(truthful.get_xdata(), [0.3333, 0.6667])
    np.testing.assert_allclose(truthful.get_ydata(), [100, 100])
    expected = [
        100 * np.mean([line.restoration for line in lines
                       if (line.method, line.times, line.fraction) == ("pchip", ALL, at)])
        for at in (0.3333, 0.6667)
    ]  # fmt: skip
    np.testing.assert_allclose(other.get_ydata(), expected)


def interval_of(source) -> pictures.Interval:
    line = interpolation("linear")(source, R)[0, 6:10]
    return pictures.Interval(source, "t2m", R, 2, {"linear": line})


def test_s001_19_strips_show_the_truth_above_what_each_method_made_and_errors_their_difference(source):
    interval = interval_of(source)
    panels = [axis.images[0].get_array() for axis in pictures.strip(interval).figure.axes if axis.images]
    celsius = source.values[0, 6:10] - 273.15
    np.testing.assert_allclose(panels[:4], celsius, atol=1e-3)
    np.testing.assert_allclose(panels[4:8], interval.made["linear"] - 273.15, atol=1e-3)
    errors = [axis.images[0].get_array() for axis in pictures.errors(interval).figure.axes if axis.images]
    np.testing.assert_allclose(errors[:2], interval.made["linear"][1:3] - source.values[0, 7:9], atol=1e-3)


def test_s001_19_arrows_point_where_a_flow_goes_and_are_as_long_as_is_said(source):
    flow = np.zeros((2, 15, 18))
    flow[0], flow[1] = 0.5, -0.25  # cells of two degrees, southward and eastward
    (quiver,) = [each for each in pictures.arrows(interval_of(source), flow).figure.axes[0].collections
                 if isinstance(each, Quiver)]  # fmt: skip
    stretch = round(1 / np.hypot(0.5, 0.25))
    np.testing.assert_allclose(quiver.U, stretch * -0.5)
    np.testing.assert_allclose(quiver.V, stretch * -1.0)


def test_flows_that_a_network_sees_are_those_it_moves_by(source):
    checkpoint = make_checkpoint(NARROW)
    still = seen_flows(checkpoint, source, R, "u10")
    assert still.shape == (4, 2, 15, 18)
    assert not still.any()
    assert seen_flows(make_checkpoint(NARROW | {"flow": False}), source, R, "u10") is None
    video = make_checkpoint({"family": "rife", "width": 4, "variables": ["t2m", "u10", "v10"]})
    with torch.no_grad():
        state = video.state_dict
        state["stages.0.head.bias"][:] = torch.tensor([-0.2, 0.3, 0.2, -0.3, 0.0])
    seen = seen_flows(video, source, R, "t2m")
    np.testing.assert_allclose(seen[:, 0], 0.2, atol=1e-3)  # half the way back and half the way on
    np.testing.assert_allclose(seen[:, 1], -0.3, atol=1e-3)
