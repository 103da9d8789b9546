"""A leaderboard: members of the DL4DS family trained alike, exported, scored together, timed; one report.

    python benchmarks/dl4ds_leaderboard.py -c configs/dl4ds-leaderboard.yaml --data DIR -o FOLDER [--only NAME ...]

A member that is trained and exported already is not trained again, so the command may be stopped and repeated; with
--finished it scores those that are there. FOLDER holds the artifacts, a report of `gfs-sr evaluate` for each test and
leaderboard.csv, the best member first: skill against the best interpolation with its 95 % interval and against the best
sharpened one, error, distance of the spectrum, parameters, FLOPs and fine cells per second on one thread.
"""

import argparse
import csv
import json
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from export.publication import publish_checkpoint
from gfs_sr.contract import Contract
from gfs_sr.data.forecast import Forecast
from gfs_sr.data.grid import Grid
from gfs_sr.data.time_axis import TimeAxis
from gfs_sr.errors import NegativeSkillWarning
from gfs_sr.evaluation.evaluate import Settings, run
from gfs_sr.evaluation.records import INTERPOLATED, WHOLE
from gfs_sr.evaluation.result import Evaluation
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.training.main import main as train

SPEED_CELLS, SPEED_FRAMES, ROUNDS = 96, 8, 5
METRICS = ("RMSE", "MAE", "bias", "PSNR", "SSIM", "RALSD")
COLUMNS = (
    *("model", "test", "skill_percent", "skill_low", "skill_high", "skill_sharpened_percent"),
    *("rmse", "best_interpolation_rmse", "ralsd", "interpolation_ralsd"),
    *("parameters", "flops_per_fine_cell", "fine_cells_per_s", "reach_cells", "members"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, export, score, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="these members alone")
    parser.add_argument("--members", type=int, default=8, help="of the ensembles among them")
    parser.add_argument("--finished", action="store_true", help="train no more, score what is there")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of training for all")
    asked = parser.parse_args(argv)
    torch.set_num_threads(1)
    plan = yaml.safe_load(asked.config.read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeSkillWarning)  # the table says it
        artifacts = publish_members(plan, asked)
        lines = rank(plan["tests"], artifacts, asked)
    with (asked.output / "leaderboard.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    print((asked.output / "leaderboard.csv").read_text())


def publish_members(plan: Mapping[str, Any], asked: argparse.Namespace) -> dict[str, Path]:
    """Name -> artifact of the members asked for; those that are not there are trained first."""
    artifacts = {}
    for name, keys in plan["members"].items():
        folder = asked.output / "models" / name
        if asked.only and name not in asked.only:
            continue
        if not (folder / "manifest.json").is_file():
            if asked.finished:
                continue
            common = plan["common"] | dict(each.split("=", 1) for each in asked.set)
            checkpoint = train_member(name, asked.config.parent / plan["base"], common | keys, asked.data, asked.output)
            publish_checkpoint(checkpoint, folder)
        artifacts[name] = folder
    return artifacts


def rank(
    tests: Mapping[str, Sequence[str]], artifacts: Mapping[str, Path], asked: argparse.Namespace
) -> list[dict[str, object]]:
    """A line for each member and test, the members of the highest mean skill first."""
    facts = {name: facts_of(Artifact.open(folder), asked.members) for name, folder in artifacts.items()}
    lines: list[dict[str, object]] = []
    for test, files in tests.items():
        evaluation = run(
            Settings(models=tuple(map(str, artifacts.values())), data=tuple(asked.data / each for each in files),
                     output=asked.output / "reports" / test, variables=("t2m",), tasks=("space",),
                     members=asked.members, metrics=METRICS, by_terrain=False)
        )  # fmt: skip
        lines += [scores | facts[str(scores["model"])] for scores in scores_of(evaluation, test)]
    order = {name: np.mean([float(str(x["skill_percent"])) for x in lines if x["model"] == name]) for name in artifacts}
    return sorted(lines, key=lambda line: -order[str(line["model"])])


def train_member(name: str, base: Path, keys: Mapping[str, Any], data: Path, output: Path) -> Path:
    """The checkpoint of one member; `config` among its keys is a further configuration file."""
    configs = [base, *(base.parent / keys[each] for each in ("config",) if each in keys)]
    options = {"data.folder": str(data), "output": str(output / "runs" / name), "model.name": name}
    options |= {key: _text(value) for key, value in keys.items() if key != "config"}
    start = time.perf_counter()
    path = train(
        [*(part for each in configs for part in ("-c", str(each))), *(f"--{k}={v}" for k, v in options.items())]
    )
    print(f"{name}: trained in {time.perf_counter() - start:.0f} s", flush=True)
    assert isinstance(path, Path)  # only an estimate is none
    return path


def scores_of(evaluation: Evaluation, test: str) -> Iterable[dict[str, object]]:
    """One line for each model, over the whole of the test data."""
    ralsd = {
        score.method: score.value
        for score in evaluation.scores()
        if score.metric == "RALSD" and score.region == WHOLE and score.lead_class == INTERPOLATED
    }
    for line in evaluation.lines():
        if line.lead_class != INTERPOLATED:
            continue
        low, high = line.skill_plain_ci or (float("nan"), float("nan"))
        yield {
            "model": line.model,
            "test": test,
            "skill_percent": f"{100 * line.skill_plain:.2f}",
            "skill_low": f"{100 * low:.2f}",
            "skill_high": f"{100 * high:.2f}",
            "skill_sharpened_percent": f"{100 * line.skill_sharpened:.2f}",
            "rmse": f"{line.rmse:.4f}",
            "best_interpolation_rmse": f"{line.rmse_plain:.4f}",
            "ralsd": f"{ralsd[line.model]:.3f}",
            "interpolation_ralsd": f"{ralsd.get(line.best_plain, float('nan')):.3f}",
        }


def facts_of(artifact: Artifact, members: int) -> dict[str, object]:
    """What does not depend on the test."""
    manifest = artifact.manifest
    halo = manifest.contract.halo
    return {
        "parameters": manifest.parameters,
        "flops_per_fine_cell": round(manifest.flops_per_fine_cell / 5),
        "fine_cells_per_s": f"{throughput(artifact):.3g}",
        "reach_cells": halo if isinstance(halo, str) else halo.north,
        "members": members if manifest.contract.stochastic else 1,
    }


def throughput(artifact: Artifact) -> float:
    """Fine cells per second of `Upscaler` on one thread, the fastest of some runs."""
    with Upscaler.open(artifact, threads=1) as upscaler:
        forecast = waves(upscaler.contract)
        fastest = max(upscaler.upscale_forecast(forecast).summary.cells_per_second for _ in range(ROUNDS))
    return float(fastest)


def waves(contract: Contract) -> Forecast:
    """A smooth forecast of 96 by 96 cells."""
    rows, columns = np.meshgrid(np.arange(SPEED_CELLS), np.arange(SPEED_CELLS), indexing="ij")
    field = (280 + 5 * np.sin(rows / 9) * np.cos(columns / 7)).astype(np.float32)
    start = np.datetime64("2024-06-01T00", "ns")
    times = TimeAxis.from_times(start, start + np.arange(SPEED_FRAMES) * np.timedelta64(6, "h"), "waves")
    grid = Grid.from_axes(60 - 0.5 * np.arange(SPEED_CELLS), 0.5 * np.arange(SPEED_CELLS), "waves")
    values = np.broadcast_to(field, (SPEED_FRAMES, len(contract.inputs), *field.shape))
    return Forecast.from_arrays(
        np.ascontiguousarray(values), contract.inputs, grid, times, registration=contract.registration
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    main()
