"""Who plays which part: the models, the best interpolation and the best sharpened one of each variable."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol as Shape
from typing import TypeVar

from gfs_sr.data.variables import lookup
from gfs_sr.evaluation.plots.style import PLAIN, SHARPENED, TRUTH, Ink, Strand, Values, inks
from gfs_sr.evaluation.records import INTERPOLATED, Line, Task
from gfs_sr.evaluation.result import Evaluation

BEST, BEST_SHARPENED = "best interpolation", "best sharpened"
LONGEST_LABEL = 22


class _OfVariable(Shape):
    @property
    def task(self) -> Task: ...

    @property
    def variable(self) -> str: ...


T = TypeVar("T", bound=_OfVariable)


@dataclass(frozen=True)
class Part:
    """How one method appears."""

    method: str
    label: str
    ink: Ink
    is_model: bool = False


@dataclass(frozen=True)
class Cast:
    """The methods shown of one variable, the model under test first."""

    task: Task
    variable: str
    parts: tuple[Part, ...]  # models, then the best interpolation, then the best sharpened one

    @property
    def name(self) -> str:
        """Of the variable, for a title."""
        level = self.variable.partition("@")[2]
        return lookup(self.variable).long_name + (f" at {level} hPa" if level else "")

    @property
    def models(self) -> tuple[Part, ...]:
        """The model under test first."""
        return tuple(part for part in self.parts if part.is_model)

    @property
    def best(self) -> Part:
        """The best plain interpolation."""
        return self.parts[-2]

    @property
    def sharpened(self) -> Part:
        """The best sharpened one."""
        return self.parts[-1]

    def strands(self, values: Mapping[str, Values], convert: Callable[[Values], Values] = lambda v: v) -> list[Strand]:
        """One strand per method that has values."""
        return [
            Strand(part.label, part.ink, convert(values[part.method])) for part in self.parts if part.method in values
        ]

    @staticmethod
    def truth(values: Values) -> Strand:
        """The truth as a strand."""
        return Strand("truth", TRUTH, values)


def casts(evaluation: Evaluation) -> list[Cast]:
    """One per variable, in space and time together where that was scored, in the order of the data."""
    best: dict[str, Line] = {}
    for line in evaluation.lines():
        is_first = line.model == evaluation.model and line.lead_class == INTERPOLATED
        if is_first and (line.variable not in best or line.task == "joint"):
            best[line.variable] = line
    colors = inks(evaluation.models)
    models = tuple(Part(name, shorten(name), colors[name], is_model=True) for name in evaluation.models)
    return [
        Cast(
            line.task,
            line.variable,
            (
                *models,
                Part(line.best_plain, BEST, PLAIN),
                Part(line.best_sharpened, BEST_SHARPENED, SHARPENED),
            ),
        )
        for line in best.values()
    ]


def shorten(name: str) -> str:
    """A label that fits a legend."""
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"


def first(cast: Cast, results: Iterable[T]) -> list[T]:
    """The first result of a cast's variable and task, if there is one."""
    return of(cast, results)[:1]


def of(cast: Cast, results: Iterable[T]) -> list[T]:
    """The results of a cast's variable and task."""
    return [result for result in results if result.task == cast.task and result.variable == cast.variable]
