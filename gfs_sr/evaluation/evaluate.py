"""`gfs-sr evaluate`: models against the truth and against every interpolation."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from gfs_sr.data.coarsen import SIGMA, Coarsening
from gfs_sr.data.grid import Registration
from gfs_sr.errors import RegistrationMismatch, UsageError
from gfs_sr.evaluation import protocol_a
from gfs_sr.evaluation.baselines import rivals, space_rivals
from gfs_sr.evaluation.cases import Case, CaseFiles, list_cases, open_case
from gfs_sr.evaluation.finished import open_finished
from gfs_sr.evaluation.protocols import Protocol, protocol
from gfs_sr.evaluation.regions import Box
from gfs_sr.evaluation.result import Evaluation
from gfs_sr.evaluation.scoring import CaseScores, Options, Scorer, Task, amount, choose, first_of_their_kind
from gfs_sr.evaluation.subject import Subject
from gfs_sr.runtime.scratch import MEMORY_BYTES
from gfs_sr.runtime.upscaler import Upscaler

LOCAL = "local"  # a cluster on this machine


@dataclass(frozen=True)
class Settings:
    """What to score, on what, and where the report goes."""

    data: tuple[Path, ...]  # fine truth; files of one run with other variables make one forecast
    models: tuple[str, ...] = ("default",)  # artifact folders or names of bundled models
    coarse: tuple[Path, ...] = ()  # coarse forecasts of another model; empty coarsens the truth
    forecast: Path | None = None  # a finished fine forecast, scored in place of a model
    output: Path | None = Path("report")  # None writes nothing
    protocol: str = "B"
    variables: tuple[str, ...] | None = None
    hours: tuple[float, float] | None = None  # first and last lead time; None takes all
    backend: str = "auto"
    members: int = 1  # of the stochastic models among them
    seed: int = 0  # of theirs
    samplers: tuple[Mapping[str, str], ...] = ({},)  # of those that denoise; with each schedule a model of its own
    schedules: tuple[Mapping[str, str], ...] = ({},)
    tile: int | None = None  # side of a core in coarse cells; None lets the planner choose
    statics: Path | None = None  # terrain and coast, for models that take them and for regions
    sigma: float = SIGMA  # of the coarsening's blur, fine cells; node only
    sharpening: float | None = None  # of the sharpened baselines; None takes the fitted constant
    tasks: tuple[Task, ...] = ("joint", "space")
    metrics: tuple[str, ...] | None = None  # names or titles; None is all, () none but the errors behind skill
    regions: tuple[Box, ...] = ()
    by_terrain: bool = True  # land, sea and heights are regions too
    examples: int = 4  # protocol A: forecasts whose figures are drawn
    example_hours: tuple[int, ...] = (0, 6, 12)  # protocol A: at these lead times
    dask: str | None = None  # address of a scheduler, or `local`; None scores one forecast after the other

    @property
    def options(self) -> Options:
        """What every case is told."""
        return Options(
            tasks=self.tasks,
            sharpening=self.sharpening,
            metrics=self.metrics,
            boxes=self.regions,
            statics=self.statics,
            by_terrain=self.by_terrain,
        )


def run(settings: Settings) -> Evaluation:
    """Score published models, or a finished forecast, and write the report.

    Raises:
        InputError: the truth cannot be used.
        ArtifactError: a model cannot be used.
        UsageError: the models do not have one task.
    """
    with ExitStack() as stack:
        evaluation = evaluate_finished(settings) if settings.forecast else _of_models(settings, stack)
    if settings.output is not None:
        from gfs_sr.evaluation.report import write_report  # pulls in the plotting

        write_report(evaluation, settings.output)
    return evaluation


def _of_models(settings: Settings, stack: ExitStack) -> Evaluation:
    subjects = open_models(settings, stack)
    files = _list(subjects, settings)
    if settings.dask is None:
        return _evaluate(subjects, [opened(each, subjects, settings) for each in files], settings)
    from gfs_sr.evaluation.workers import score_on_workers

    how = _checked(subjects, settings)
    settings = _shared(subjects, settings)
    if not how.registered:
        raise UsageError("protocol A is scored in one process", "--dask", "leave --dask out")
    return _result(subjects, score_on_workers(settings, files), settings, how)


def open_models(settings: Settings, stack: ExitStack) -> list[Subject]:
    """The models of the settings, closed with `stack`; a name that occurs twice is told apart by its number."""
    subjects: list[Subject] = []
    for model in settings.models:
        upscaler = stack.enter_context(Upscaler.open(model, backend=settings.backend))
        if upscaler.contract.target_grid is not None:
            raise UsageError(
                f"{upscaler.contract.name} refines to fine cells of its own", "--model",
                "write its forecast with gfs-sr upscale, and score that: --forecast FINE --coarse COARSE",
            )  # fmt: skip
        statics = settings.statics if _takes_statics(upscaler) else None
        for sampler, schedule in _ways(upscaler, settings):
            name = ", ".join([upscaler.contract.name, *_in_words(sampler), *_in_words(schedule)])
            subjects.append(
                Subject.of(
                    upscaler, statics, tile=settings.tile, name=_unique(name, [subject.name for subject in subjects]),
                    members=settings.members, seed=settings.seed, sampler=sampler, schedule=schedule,
                )
            )  # fmt: skip
    is_asked = any((*settings.samplers, *settings.schedules))
    if is_asked and not any(subject.evaluations for subject in subjects):
        raise UsageError("none of the models draws by a sampler", "--sampler, --schedule", "leave them out")
    return subjects


def _ways(upscaler: Upscaler, settings: Settings) -> list[tuple[Mapping[str, str], Mapping[str, str]]]:
    """How the members of a model are drawn: every sampler with every schedule."""
    if upscaler.contract.denoising is None:
        return [({}, {})]
    return list(product(settings.samplers, settings.schedules))


def _in_words(given: Mapping[str, str]) -> list[str]:
    return [value if key in ("integrator", "type") else f"{key}={value}" for key, value in given.items()]


def evaluate(subject: Subject | Sequence[Subject], settings: Settings) -> Evaluation:
    """Score any subjects on the files of the settings; writes nothing."""
    subjects = [subject] if isinstance(subject, Subject) else list(subject)
    files = _list(subjects, settings)
    return _evaluate(subjects, [opened(each, subjects, settings) for each in files], settings)


def evaluate_cases(subject: Subject | Sequence[Subject], truths: Iterable[Case], settings: Settings) -> Evaluation:
    """Score any subjects on cases that are made already; the settings' data, variables and sigma are not used."""
    return _evaluate([subject] if isinstance(subject, Subject) else list(subject), list(truths), settings)


def evaluate_finished(settings: Settings) -> Evaluation:
    """Score a fine forecast that lies in a file, with its members, without running a model."""
    if settings.forecast is None or settings.dask is not None:
        raise UsageError("one finished forecast is scored in one process", "--dask", "leave --dask out")
    if not protocol(settings.protocol).registered:
        raise UsageError("protocol A scores networks", "--protocol", "score a finished forecast by protocol B")
    subject, case = open_finished(
        settings.forecast, settings.data, settings.coarse, settings.variables, settings.hours, settings.sigma
    )
    return _evaluate([subject], [case], replace(settings, tasks=("joint",)))


def _evaluate(subjects: Sequence[Subject], cases: Sequence[Case], settings: Settings) -> Evaluation:
    how = _checked(subjects, settings)
    settings = _shared(subjects, settings)
    subjects = _named_apart(subjects)
    if not how.registered:
        scores = [
            protocol_a.score(case, subjects[0], how, settings.example_hours if number < settings.examples else ())
            for number, case in enumerate(cases)
        ]
        return _result(subjects, scores, settings, how)
    scorers = [Scorer(case, subjects, settings.options, how) for case in cases]
    scores, held = [], 0
    for scorer in scorers:
        scores.append(scorer.contest())
        held += scorer.held_bytes
        if held > MEMORY_BYTES and len(scorers) > 1:
            held -= scorer.held_bytes
            scorer.forget()
    if settings.metrics != ():
        shown = choose(scores, amount(subjects[0].registration, settings.options))
        for scorer, found, is_first in zip(scorers, scores, first_of_their_kind(scores), strict=True):
            scorer.detail(found, shown, keep_fields=is_first)
            scorer.forget()
    return _result(subjects, scores, settings, how)


def _list(subjects: Sequence[Subject], settings: Settings) -> list[CaseFiles]:
    needed = tuple(dict.fromkeys(name for subject in subjects for name in subject.needs))
    return list_cases(settings.data, settings.coarse, settings.variables, _offered(subjects), needed)


def opened(files: CaseFiles, subjects: Sequence[Subject], settings: Settings) -> Case:
    """A case for these models."""
    how = coarsening(subjects[0], settings)
    return open_case(files, how, settings.hours)


def coarsening(subject: Subject, settings: Settings) -> Coarsening:
    """What makes, or would have made, the coarse fields of a model."""
    sigma = settings.sigma if subject.scale_factor > 1 else 0.0  # what keeps its cells is not blurred
    return Coarsening(subject.registration, subject.scale_factor, subject.time_factor, sigma, crop=True)


def _checked(subjects: Sequence[Subject], settings: Settings) -> Protocol:
    """The protocol, after everything that must hold before work starts.

    Raises:
        UsageError: no model, or models of several tasks, or a sharpening that sharpens nothing.
        RegistrationMismatch: protocol A and a cell model.
    """
    how = protocol(settings.protocol)
    tasks = {(subject.scale_factor, subject.time_factor, str(subject.registration)) for subject in subjects}
    in_space = {(s, registration) for s, _, registration in tasks}
    if len(in_space) != 1 or (len(tasks) != 1 and not ("space" in settings.tasks and how.registered)):
        listed = "; ".join(f"{s} in space, {r} in time, {registration}" for s, r, registration in sorted(tasks))
        raise UsageError(
            f"the models have different tasks ({listed}) and cannot be ranked", "--model", "evaluate them one by one"
        )
    if settings.sharpening is not None and not settings.sharpening > 0:
        raise UsageError(
            f"a sharpening of {settings.sharpening:g} sharpens nothing", "--sharpening", "give an amount above 0"
        )
    if not how.registered:
        if subjects[0].registration is not Registration.NODE:
            raise RegistrationMismatch(
                f"{subjects[0].name} is registered by {subjects[0].registration}",
                "protocol A",
                "use a node model, or protocol B",
            )
        if len(subjects) > 1 or settings.coarse:
            raise UsageError("protocol A scores one model on coarsened truth", "--protocol", "use protocol B")
    return how


def _shared(subjects: Sequence[Subject], settings: Settings) -> Settings:
    """Models that refine time differently are ranked in space alone, frame by frame."""
    if len({subject.time_factor for subject in subjects}) == 1:
        return settings
    return replace(settings, tasks=("space",))


def _named_apart(subjects: Sequence[Subject]) -> list[Subject]:
    """Scores are kept by name: a model is not called as an interpolation is."""
    taken = {rival.name for rival in (*rivals(1.0), *space_rivals(1.0))}
    return [
        replace(subject, name=f"model {subject.name}") if subject.name in taken else subject for subject in subjects
    ]


def _unique(name: str, taken: Sequence[str]) -> str:
    count = sum(each == name or each.startswith(f"{name} (") for each in taken)
    return f"{name} ({count + 1})" if count else name


def _offered(subjects: Sequence[Subject]) -> tuple[str, ...] | None:
    if any(subject.variables is None for subject in subjects):
        return None
    return tuple(dict.fromkeys(name for subject in subjects for name in subject.variables or ()))


def _takes_statics(upscaler: Upscaler) -> bool:
    return bool(upscaler.contract.statics_coarse or upscaler.contract.statics_fine)


def _result(subjects: Sequence[Subject], scores: Sequence[CaseScores], settings: Settings, how: Protocol) -> Evaluation:
    """Models in the order of their mean skill."""
    found = Evaluation(
        models=tuple(subject.name for subject in subjects),
        protocol=how,
        settings=_describe(subjects[0], settings, how),
        model_facts={subject.name: dict(subject.facts) for subject in subjects},
        evaluations={subject.name: subject.evaluations for subject in subjects if subject.evaluations is not None},
        cases=scores,
        warnings=tuple(dict.fromkeys(text for case in scores for text in case.warnings)),
    )
    if len(subjects) == 1:
        return found
    # the joint task, where there is one, is the last to speak
    rank = {total.model: total.skill_sharpened for total in reversed(found.overall())}
    return replace(found, models=tuple(sorted(found.models, key=lambda name: -rank.get(name, float("-inf")))))


def _describe(subject: Subject, settings: Settings, how: Protocol) -> dict[str, str]:
    node = subject.registration is Registration.NODE
    made = (
        f"Gaussian blur, sigma {settings.sigma:g} fine cells, then every s-th point"
        if node
        else "area-weighted block means"
    )
    in_time = f"; every {subject.time_factor}th frame, amounts summed" if subject.time_factor > 1 else ""
    facts = {
        "registration": str(subject.registration),
        "coarse fields": "another model's forecast" if settings.coarse else f"{made}{in_time}",
        "factors": f"{subject.scale_factor} in space"
        + (f", {subject.time_factor} in time" if "joint" in settings.tasks else "; frame by frame"),
    }
    if how.registered:
        facts |= {
            "sharpening of the baselines": f"a = {amount(subject.registration, settings.options):.4g}",
            "intervals": "95 %; coarse intervals (forecasts, from 10 on) and blocks of cells drawn with replacement",
            "regions": "the user's statics" if settings.statics else "the bundled map of terrain and coasts",
        }
    return facts
