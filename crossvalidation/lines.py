"""The lines that a cross-validation leaves: a CSV that grows source by source, and its summary."""

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from crossvalidation.scores import Score
from gfs_sr.atomic import whole
from gfs_sr.errors import UsageError


@dataclass(frozen=True)
class FoldLine:
    """One variable of one source that a model never saw."""

    registration: str
    fold: str
    source: str
    variable: str
    task: str  # space or joint
    time_factor: int
    rmse: float  # canonical units
    rmse_best: float  # of the best of all interpolations, plain and sharpened
    best: str
    rmse_best_plain: float
    skill_percent: float
    skill_plain_percent: float
    steps: int  # of training
    recipe: str  # digest of configuration and data
    model: str  # digest of the artifact that space was scored with

    @classmethod
    def of(
        cls, score: Score, *, registration: str, fold: str, source: str, steps: int, recipe: str, model: str
    ) -> Self:
        """A score and where it comes from."""
        return cls(
            registration=registration,
            fold=fold,
            source=source,
            variable=score.variable,
            task=score.task,
            time_factor=score.time_factor,
            rmse=_rounded(score.rmse),
            rmse_best=_rounded(score.rmse_best),
            best=score.best,
            rmse_best_plain=_rounded(score.rmse_best_plain),
            skill_percent=round(100 * (1 - score.rmse / score.rmse_best), 2),
            skill_plain_percent=round(100 * (1 - score.rmse / score.rmse_best_plain), 2),
            steps=steps,
            recipe=recipe,
            model=model,
        )


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


_CASTS: dict[object, Callable[[str], object]] = {str: str, int: int, float: float}


def read_lines(path: Path) -> list[FoldLine]:
    """What is there already; nothing where there is no file.

    Raises:
        UsageError: a file of something else.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return [
            FoldLine(**{each.name: _CASTS[each.type](row[each.name]) for each in fields(FoldLine)})  # type: ignore[arg-type]
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"holds no cross-validation: {error}", str(path), "give another --output") from error


def write_lines(lines: Iterable[FoldLine], path: Path) -> None:
    """All lines at once: a kill leaves the old file or the new one."""
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(FoldLine)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


def summary(lines: Sequence[FoldLine]) -> str:
    """Markdown: a row per task, then one per fold and task with every line that is not above 0."""
    rows = [
        "| registration | task | time factor | lines | mean | median | above 0 | least |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (registration, task, factor), group in _grouped(lines, "registration", "task", "time_factor"):
        skills = [line.skill_percent for line in group]
        rows.append(
            f"| {registration} | {task} | {factor} | {len(group)} | {_signed(statistics.mean(skills))} | "
            f"{_signed(statistics.median(skills))} | {sum(skill > 0 for skill in skills)} | {_signed(min(skills))} |"
        )
    rows += [
        "",
        "| registration | left out | task | time factor | lines | mean | least | not above 0 (source, variable, %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (registration, fold, task, factor), group in _grouped(lines, "registration", "fold", "task", "time_factor"):
        skills = [line.skill_percent for line in group]
        losses = ", ".join(
            f"{line.source} {line.variable} {line.skill_percent:+.1f}" for line in group if line.skill_percent <= 0
        )
        rows.append(
            f"| {registration} | {fold} | {task} | {factor} | {len(group)} | {_signed(statistics.mean(skills))} | "
            f"{_signed(min(skills))} | {losses} |"
        )
    return "\n".join(rows) + "\n"


def _grouped(lines: Sequence[FoldLine], *keys: str) -> list[tuple[tuple[object, ...], list[FoldLine]]]:
    """In the order of the lines; space before joint within a fold, as they are scored."""
    groups: dict[tuple[object, ...], list[FoldLine]] = {}
    for line in lines:
        groups.setdefault(tuple(getattr(line, key) for key in keys), []).append(line)
    return list(groups.items())


def _signed(percent: float) -> str:
    return f"{percent:+.1f} %"
