"""An engine by its name, or the fastest that is installed."""

from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Backend, Precision
from gfs_sr.runtime.backends.choice import choose_engine
from gfs_sr.runtime.backends.registry import BACKENDS, make_backend


def open_backend(
    name: str,
    artifact: Artifact,
    *,
    precision: Precision | None = None,
    threads: int | None = None,
    role: str = MODEL,
) -> Backend:
    """An engine for `artifact`, not yet active: use it in a `with` statement.

    Args:
        name: auto, or one of `BACKENDS`; the result's `name` and `chosen` say which was taken, and why.
        artifact: the opened model.
        precision: of the residual branch; None takes the artifact's own.
        threads: that compute; None leaves it to the engine (all cores).
        role: the graph: `model`, or `frame` for frames on their own, where the artifact has it.

    Raises:
        UsageError: no such backend, or a precision that the artifact was not exported in.
        BackendNotInstalled: the engine's package is absent.
    """
    if name == "auto":
        choice = choose_engine(artifact, threads)
        backend = make_backend(choice.backend, artifact, precision=precision, threads=threads, role=role)
        backend.chosen = choice.reason
        return backend
    if name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}", "--backend", f"choose from: auto, {', '.join(BACKENDS)}")
    return make_backend(name, artifact, precision=precision, threads=threads, role=role)
