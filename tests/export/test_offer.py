"""One training, several offers."""

import json
from pathlib import Path

import pytest
import torch

from export.offer import offer
from gfs_sr import models
from gfs_sr.errors import MissingFile, UsageError
from tests.export.checkpoints import make_checkpoint


def test_weights_that_do_not_know_r_serve_another_interval() -> None:
    trained = make_checkpoint({"family": "fused", "width": 8}, spread=0.05)
    offered = offer(trained, "fused-3h", 3)
    assert offered.contract.name == "fused-3h"
    assert offered.contract.time_factor == 3
    assert offered.contract.interval_hours == (3.0,)
    weights = models.build(offered.config).state_dict()
    assert weights.keys() == trained.state_dict.keys()
    assert all(torch.equal(offered.state_dict[name], trained.state_dict[name]) for name in weights)


def test_weights_that_do_are_refused_another() -> None:
    trained = make_checkpoint({"family": "factorized", "blocks": 1, "width": 4})
    with pytest.raises(UsageError, match="time factor 6"):
        offer(trained, None, 3)


def test_the_skill_of_a_report_becomes_the_manifests(tmp_path: Path) -> None:
    line = {
        **{"task": "space", "variable": "t2m", "lead_class": "interpolated"},
        **{"rmse_plain": 2.0, "best_plain": "bicubic", "skill_plain": 0.5},
        **{"rmse_sharpened": 1.0, "best_sharpened": "sharpened bicubic", "skill_sharpened": -0.25},
    }
    later = line | {"lead_class": "extrapolated"}
    (tmp_path / "metrics.json").write_text(json.dumps({"forecasts": ["a.grib"], "lines": [line, later]}))
    offered = offer(make_checkpoint({"family": "interpolation"}), None, None, [tmp_path / "metrics.json"])
    (skill,) = offered.skill
    assert skill.data == "a.grib, space alone"
    assert (skill.skill, skill.skill_sharpened) == (0.5, -0.25)
    assert skill.best_baseline == "sharpened bicubic"
    with pytest.raises(MissingFile):
        offer(make_checkpoint({"family": "interpolation"}), None, None, [tmp_path / "none.json"])


def test_of_a_report_on_several_models_the_lines_of_its_own_are_taken(tmp_path: Path) -> None:
    line = {
        **{"task": "joint", "variable": "t2m", "lead_class": "interpolated"},
        **{"rmse_plain": 2.0, "best_plain": "bicubic/linear", "skill_plain": 0.5, "skill_plain_ci": [0.4, 0.61234]},
        **{"rmse_sharpened": 1.0, "best_sharpened": "sharpened bicubic/linear", "skill_sharpened": 0.2},
        **{"skill_sharpened_ci": None},
    }
    lines = [line | {"model": "ours"}, line | {"model": "other", "skill_plain": 0.9}]
    report = tmp_path / "metrics.json"
    report.write_text(json.dumps({"models": ["other", "ours"], "forecasts": ["a.grib"], "lines": lines}))
    (skill,) = offer(make_checkpoint({"family": "interpolation"}), "ours", None, [report]).skill
    assert (skill.skill, skill.interval, skill.interval_sharpened) == (0.5, (0.4, 0.6123), None)
    with pytest.raises(UsageError, match="the report ranks other, ours"):
        offer(make_checkpoint({"family": "interpolation"}), "third", None, [report])
