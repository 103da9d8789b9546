"""Many forecasts on the workers of a Dask cluster: each scores one, sums come home."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gfs_sr.data.grid import Registration
from gfs_sr.errors import BackendNotInstalled, NegativeSkillWarning
from gfs_sr.evaluation.cases import CaseFiles
from gfs_sr.evaluation.detail import Shown
from gfs_sr.evaluation.scoring import CaseScores, Key, Scorer, amount, choose, first_of_their_kind

if TYPE_CHECKING:
    from dask.distributed import Client

    from gfs_sr.evaluation.evaluate import Settings


def score_on_workers(settings: "Settings", files: Sequence[CaseFiles]) -> list[CaseScores]:
    """As in one process, with the same numbers; every worker opens the files and the models by itself.

    Raises:
        BackendNotInstalled: Dask is absent.
        GfsSrError: as a worker raised it.
    """
    with _client(settings.dask or "") as client:
        found = client.gather(client.map(_contest, files, settings=settings, pure=False))
        scores: list[CaseScores] = [each for each, _ in found]
        if settings.metrics != ():
            registration = found[0][1]
            shown = choose(scores, amount(registration, settings.options))
            first = first_of_their_kind(scores)
            scores = client.gather(
                client.map(_detail, files, scores, first, settings=settings, shown=shown, pure=False)
            )
        return scores


def _client(address: str) -> "Client":
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise BackendNotInstalled("Dask is not installed", "--dask", "pip install 'gfs-sr[dask]'") from error
    from gfs_sr.evaluation.evaluate import LOCAL

    # threads of one process would share an engine that computes one batch at a time
    if address == LOCAL:
        return Client(threads_per_worker=1, dashboard_address=None)  # type: ignore[no-untyped-call]
    return Client(address)  # type: ignore[no-untyped-call]


def _contest(files: CaseFiles, settings: "Settings") -> tuple[CaseScores, Registration]:
    with ExitStack() as stack:
        scorer = _scorer(files, settings, stack)
        return scorer.contest(), scorer.case.registration


def _detail(
    files: CaseFiles, scores: CaseScores, is_first: bool, settings: "Settings", shown: Mapping[Key, Shown]
) -> CaseScores:
    with ExitStack() as stack:
        return _scorer(files, settings, stack).detail(scores, shown, keep_fields=is_first)


def _scorer(files: CaseFiles, settings: "Settings", stack: ExitStack) -> Scorer:
    from gfs_sr.evaluation.evaluate import open_models, opened
    from gfs_sr.evaluation.protocols import protocol

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NegativeSkillWarning)  # said where the command runs
        subjects = open_models(settings, stack)
    return Scorer(opened(files, subjects, settings), subjects, settings.options, protocol(settings.protocol))
