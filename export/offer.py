"""What a checkpoint is offered as: its name, the interval it serves, the skill that was measured."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from gfs_sr import models
from gfs_sr.contract import Skill
from gfs_sr.errors import CheckpointInvalid, MissingFile, UsageError
from gfs_sr.models.checkpoint import Checkpoint

TASKS = {"joint": "space and time", "space": "space alone"}


def offer(
    checkpoint: Checkpoint, name: str | None, time_factor: int | None, reports: Sequence[Path] = ()
) -> Checkpoint:
    """The checkpoint under another name, for another interval, with the skill that reports found.

    Args:
        checkpoint: as training left it.
        name: of the artifact; None keeps the checkpoint's.
        time_factor: r of the artifact, the fine step kept: weights that do not know r (`fused`) serve any.
        reports: `metrics.json` files of `gfs-sr evaluate`; their headline lines replace the checkpoint's skill.

    Raises:
        UsageError: the weights depend on the time factor, or a report ranks other models.
        MissingFile: no such report.
    """
    contract, config = checkpoint.contract, dict(checkpoint.config)
    names = {contract.name, name or contract.name}
    skill = tuple(line for report in reports for line in _lines(report, names)) or checkpoint.skill
    intervals = contract.interval_hours
    if time_factor is not None and time_factor != contract.time_factor:
        if "interval_hours" not in config:
            raise UsageError(
                f"the weights of {contract.family} belong to the time factor {contract.time_factor}",
                "--time-factor",
                "train a model for the other factor",
            )
        hours = float(config["interval_hours"]) / contract.time_factor * time_factor
        config |= {"time_factor": time_factor, "interval_hours": hours}
        intervals = (hours,)
    model = models.build(config)
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        raise CheckpointInvalid(
            "the weights do not fit their own configuration", contract.name, "train again with this version"
        ) from error
    offered = model.make_contract(
        name=name or contract.name,
        normalization=contract.normalization,
        envelope=contract.envelope,
        interval_hours=intervals,
    )
    return replace(checkpoint, config=model.config, contract=offered, skill=skill)


def _lines(report: Path, names: Collection[str]) -> list[Skill]:
    """The headline lines of one evaluation, interpolated leads only; of several models those of this one."""
    if not report.is_file():
        raise MissingFile(f"no report {report}", "--skill", "give the metrics.json that gfs-sr evaluate wrote")
    found = json.loads(report.read_text())
    data = "; ".join(found["forecasts"])
    models = found.get("models", ())
    ours = [model for model in models if model in names] if len(models) > 1 else list(models)
    if models and len(ours) != 1:
        raise UsageError(
            f"the report ranks {', '.join(models)}, and not one of them alone is this model",
            f"--skill {report}",
            "evaluate this model by itself, or give --name as in the report",
        )
    lines = []
    for line in found["lines"]:
        if line["lead_class"] == "interpolated" and (not ours or line["model"] == ours[0]):
            best = min((line["rmse_plain"], line["best_plain"]), (line["rmse_sharpened"], line["best_sharpened"]))[1]
            lines.append(
                Skill(
                    data=f"{data}, {TASKS[line['task']]}",
                    variable=line["variable"],
                    skill=round(line["skill_plain"], 4),
                    skill_sharpened=round(line["skill_sharpened"], 4),
                    best_baseline=best,
                    interval=_interval(line.get("skill_plain_ci")),
                    interval_sharpened=_interval(line.get("skill_sharpened_ci")),
                )
            )
    return lines


def _interval(ends: list[float] | None) -> tuple[float, float] | None:
    return None if ends is None else (round(ends[0], 4), round(ends[1], 4))
