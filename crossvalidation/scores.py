"""Scores of one source by the evaluation's own code: a line per variable and task."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossvalidation.truth import truth_of, write_statics
from gfs_sr.contract import Contract
from gfs_sr.data.coarsen import Coarsening
from gfs_sr.errors import NegativeSkillWarning
from gfs_sr.evaluation.cases import Case, make_case
from gfs_sr.evaluation.evaluate import Settings, evaluate_cases
from gfs_sr.evaluation.result import Line
from gfs_sr.evaluation.scoring import INTERPOLATED, Task
from gfs_sr.evaluation.subject import Subject
from gfs_sr.runtime.upscaler import Upscaler
from gfs_sr.training.field_set import FieldSet


@dataclass(frozen=True)
class Score:
    """Model and best interpolation on one variable of a source, RMSE in canonical units."""

    variable: str
    task: Task
    time_factor: int
    rmse: float
    rmse_best: float  # of all interpolations that skill refers to, plain and sharpened
    best: str
    rmse_best_plain: float

    @classmethod
    def of(cls, line: Line, time_factor: int) -> "Score":
        """The evaluation's verdict."""
        plain, sharpened = (line.rmse_plain, line.best_plain), (line.rmse_sharpened, line.best_sharpened)
        return cls(line.variable, line.task, time_factor, line.rmse, *min(plain, sharpened), line.rmse_plain)


def is_scored(fields: FieldSet, contract: Contract) -> bool:
    """True where the set is meant for space, holds a variable of the model and has a hull of coarse points."""
    s = contract.scale_factor
    return (
        not fields.series and bool(set(fields.variables) & set(contract.outputs)) and min(fields.shape[1:]) >= 2 * s + 1
    )


def score_source(sets: Sequence[FieldSet], artifacts: Sequence[Path]) -> Iterator[Score]:
    """Every variable of a source: single frames, and each artifact's time factor where the source's hours allow it.

    Args:
        sets: of one source, those that `is_scored`; RMSE is their mean.
        artifacts: the same weights for several time factors; the first scores space alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeSkillWarning)
        for number, artifact in enumerate(artifacts):
            with Upscaler.open(artifact) as upscaler, tempfile.TemporaryDirectory() as scratch:
                if number == 0:
                    yield from _score(sets, upscaler, "space", Path(scratch))
                yield from _score(sets, upscaler, "joint", Path(scratch))


def _score(sets: Sequence[FieldSet], upscaler: Upscaler, task: Task, scratch: Path) -> Iterator[Score]:
    contract = upscaler.contract
    scored: dict[Path | None, list[Case]] = {}
    for fields in sets:
        truth = truth_of(fields, contract.outputs)
        if truth is None or (task == "joint" and not (truth.on_earth and _has_series(fields, contract))):
            continue
        # without a series every frame stands alone: no frame is skipped
        how = Coarsening(
            contract.registration, contract.scale_factor, contract.time_factor if task == "joint" else 1, crop=True
        )
        statics = None
        if not truth.on_earth:
            statics = scratch / f"{fields.name}.nc"
            write_statics(fields, truth.forecast.grid, contract.scale_factor, statics)
        case = make_case(truth.forecast, [Path(fields.name)], how, contract.outputs)
        scored.setdefault(statics, []).append(case)
    evaluations = []
    for statics, cases in scored.items():
        subject = Subject.of(upscaler, statics)
        if task == "space":
            subject = replace(subject, time_factor=1)
        evaluations.append(evaluate_cases(subject, cases, Settings(data=(), tasks=(task,))))
    if not evaluations:
        return
    first, *others = evaluations
    whole = replace(first, cases=[case for each in (first, *others) for case in each.cases])
    for line in whole.lines():
        if line.lead_class == INTERPOLATED:
            yield Score.of(line, contract.time_factor)


def _has_series(fields: FieldSet, contract: Contract) -> bool:
    r = contract.time_factor
    return fields.shape[0] > r and r * fields.interval_hours in contract.interval_hours
