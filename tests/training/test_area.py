"""Cells count by their area, where that is asked for."""

import numpy as np
import pytest
import torch

from gfs_sr import models
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.main import parse, run
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.windows import generator
from tests.training.runs import FACTORIZED, arguments


def latitudes(lat: np.ndarray | None) -> FieldSet:
    """Fields whose values are their own latitudes, in 31 rows and 40 columns."""
    values = np.broadcast_to(np.linspace(70, 40, 31)[:, None], (1, 7, 31, 40)).astype(np.float32)
    hours = np.datetime64("2020-01-01T00") + np.arange(7) * np.timedelta64(1, "h")
    lon = None if lat is None else np.linspace(0, 39, 40)
    return FieldSet("rows", "rows", ("t2m",), values, hours, lat, lon)


def sampler(fields: FieldSet, area: bool = True) -> Sampler:
    network = models.build({"family": "fused", "variables": ["t2m"], "width": 4, "blocks": 1, "scale_factor": 3})
    task = Task.of(network.make_contract(name="test"), network.reach, area=area)
    return Sampler([fields], task, StreamConfig(kind="space", patch=5))


def test_the_area_of_a_cell_is_the_cosine_of_its_own_latitude_in_every_view():
    drawing = sampler(latitudes(np.linspace(70, 40, 31)))
    scale = drawing.task.scaling["t2m"]
    turned = set()
    for index in range(20):
        sample = drawing.draw(generator(0, index))
        assert sample["area"].shape == (1, 1, 15, 15)
        lat = sample["fine"][0, 0] * scale.sd + scale.mean
        np.testing.assert_allclose(sample["area"][0, 0], np.cos(np.deg2rad(lat)), rtol=1e-4)
        turned.add(np.ptp(sample["area"][0, 0], axis=0).max() < 1e-6)
    assert turned == {True, False}  # rows and columns have both been latitudes


def test_cells_of_an_unknown_grid_count_alike():
    assert (sampler(latitudes(None)).draw(generator(0))["area"] == 1).all()


def test_samples_have_no_area_unless_it_is_asked_for():
    assert "area" not in sampler(latitudes(np.linspace(70, 40, 31)), area=False).draw(generator(0))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning", "ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:FutureWarning:lightning")
def test_a_run_with_areas_validates_otherwise_than_one_without(tmp_path):
    scores = []
    for weighted in ("true", "false"):
        folder = tmp_path / weighted
        folder.mkdir()
        keys = {"data.area_weights": weighted, "data.augment": "false"}
        command = parse(arguments(folder, FACTORIZED, steps=1, epochs=1, **keys))
        run(command)
        metrics = command.trainer.callback_metrics
        scores.append((metrics["val/rmse"], metrics["val/skill"], metrics["train/loss"]))
    for with_area, without in zip(*scores, strict=True):
        assert torch.isfinite(with_area)
        assert with_area != without
