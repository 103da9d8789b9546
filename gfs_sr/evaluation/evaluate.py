"""`gfs-sr evaluate`: a model against the truth and against every interpolation."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gfs_sr.data.coarsen import SIGMA
from gfs_sr.data.grid import Registration
from gfs_sr.data.sharpening import FITTED
from gfs_sr.errors import RegistrationMismatch
from gfs_sr.evaluation import protocol_a
from gfs_sr.evaluation.baselines import rivals, space_rivals
from gfs_sr.evaluation.cases import Case, cases
from gfs_sr.evaluation.protocols import Protocol, protocol
from gfs_sr.evaluation.result import Evaluation
from gfs_sr.evaluation.scoring import CaseScores, Task, score_joint, score_space
from gfs_sr.evaluation.subject import Subject
from gfs_sr.runtime.upscaler import Upscaler


@dataclass(frozen=True)
class Settings:
    """What to score, on what, and where the report goes."""

    data: tuple[Path, ...]  # fine truth; files of one run with other variables make one forecast
    model: str = "default"  # artifact folder or name of a bundled model
    output: Path | None = Path("report")  # None writes nothing
    protocol: str = "B"
    variables: tuple[str, ...] | None = None
    backend: str = "auto"
    sigma: float = SIGMA  # of the coarsening's blur, fine cells; node only
    sharpening: float | None = None  # of the sharpened baselines; None takes the fitted constant
    tasks: tuple[Task, ...] = ("joint", "space")


def run(settings: Settings) -> Evaluation:
    """Score a published model and write the report.

    Raises:
        InputError: the truth cannot be used.
        ArtifactError: the model cannot be used.
    """
    with Upscaler.open(settings.model, backend=settings.backend) as upscaler:
        evaluation = evaluate(Subject.of(upscaler), settings)
    if settings.output is not None:
        from gfs_sr.evaluation.report import write_report  # pulls in the plotting

        write_report(evaluation, settings.output)
    return evaluation


def evaluate(subject: Subject, settings: Settings) -> Evaluation:
    """Score any subject on the files of the settings; writes nothing."""
    return evaluate_cases(
        subject,
        cases(
            settings.data,
            subject.registration,
            subject.scale_factor,
            subject.time_factor,
            settings.variables,
            subject.variables,
            settings.sigma,
        ),
        settings,
    )


def evaluate_cases(subject: Subject, truths: Iterable[Case], settings: Settings) -> Evaluation:
    """Score any subject on cases that are made already; the settings' data, variables and sigma are not used."""
    how = protocol(settings.protocol)
    if subject.name in {*(rival.name for rival in rivals(1.0)), *(rival.name for rival in space_rivals(1.0))}:
        subject = replace(subject, name=f"model {subject.name}")  # scores are kept by name
    if not how.registered and subject.registration is not Registration.NODE:
        raise RegistrationMismatch(
            f"{subject.name} is registered by {subject.registration}", "protocol A", "use a node model, or protocol B"
        )
    a = settings.sharpening if settings.sharpening is not None else FITTED[subject.registration]
    found = [_score(case, subject, how, a, settings.tasks) for case in truths]
    headline: dict[Task, tuple[str, ...]] = {
        "joint": tuple(rival.name for rival in rivals(a) if rival.headline),
        "space": tuple(rival.name for rival in space_rivals(a) if rival.headline),
    }
    return Evaluation(
        model=subject.name,
        protocol=how,
        settings=_describe(subject, settings, a),
        headline=headline,
        cases=found,
        warnings=tuple(subject.warnings),
    )


def _score(case: Case, subject: Subject, how: Protocol, a: float, tasks: tuple[Task, ...]) -> CaseScores:
    if not how.registered:
        return protocol_a.rename(protocol_a.score(case, subject, how), "model", subject.name)
    parts = []
    if "joint" in tasks and len(case.coarse.times) > 1 and subject.time_factor > 1:
        parts.append(score_joint(case, subject, rivals(a), how))
    if "space" in tasks or not parts:
        parts.append(score_space(case, subject, space_rivals(a), how))
    return CaseScores(
        case.label,
        [record for part in parts for record in part.records],
        [curve for part in parts for curve in part.curves],
        [maps for part in parts for maps in part.maps],
        case.left_out,
    )


def _describe(subject: Subject, settings: Settings, a: float) -> dict[str, str]:
    coarsening: Literal["Gaussian blur, then every s-th point", "area-weighted block means"] = (
        "Gaussian blur, then every s-th point"
        if subject.registration is Registration.NODE
        else "area-weighted block means"
    )
    sigma = f", sigma {settings.sigma:g} fine cells" if subject.registration is Registration.NODE else ""
    return {
        "registration": str(subject.registration),
        "coarse fields": f"{coarsening}{sigma}; every {subject.time_factor}th frame",
        "factors": f"{subject.scale_factor} in space, {subject.time_factor} in time",
        "sharpening of the baselines": f"a = {a:.4g}",
        "normalized scale": "mean and spread of the model's contract",
        **subject.facts,
    }
