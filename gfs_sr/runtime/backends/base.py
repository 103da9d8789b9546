"""What every engine can do: activate, infer, deactivate."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from gfs_sr.errors import BackendFailed, BackendNotActive, GfsSrError, UsageError
from gfs_sr.runtime.artifact import FRAME, MODEL, Artifact
from gfs_sr.runtime.backends.signature import signature_of

Array = npt.NDArray[Any]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

TOLERANCE_SD: Final = {  # largest difference allowed between engines, in standard deviations of the variable
    "fp32": 1e-4,  # sums in another order
    "fp16": 2e-3,  # a residual of 1 sd keeps 11 significant bits, and errors of several layers add up
    "bf16": 3e-2,  # 8 significant bits
    "int8": 3e-2,  # 8 bits of each layer's range, sums in 32
}


class Started(Protocol):
    """A batch on its way through an engine."""

    def taken(self) -> None:
        """Wait until the inputs may be overwritten."""

    def done(self) -> None:
        """Wait until the result is in its place; may be called by another thread."""


class _Done:
    """A batch that was computed before anybody asked."""

    def taken(self) -> None: ...

    def done(self) -> None: ...


DONE: Final = _Done()


class DeviceFields(Protocol):
    """Fields that stay where an engine computes from one batch to the next.

    They know arithmetic, slices and indices by arrays that were `put` there, as NumPy's arrays do.
    """

    def put(self, values: Array) -> Any:
        """A copy of the host's values."""

    def fetch(self, field: Any) -> Array:
        """A copy on the host, which waits for it."""

    def full(self, shape: tuple[int, ...], value: float) -> Any:
        """Float32, made there: nothing is copied."""

    def normals(self, word: int, lat: Any, lon: Any, step: int) -> Any:
        """As `gfs_sr.runtime.noise.fill_normals`, to the last bit; rows and columns were `put` there."""

    def infer(self, inputs: Mapping[str, Any]) -> Any:
        """The engine's only result of one batch that lies there; the next call may overwrite it."""


class Backend(ABC):
    """A way to run one model on tile batches; a context manager.

    The checks live here, once; a backend fills in `_activate`, `_infer` and `_deactivate`.
    """

    name: ClassVar[str]
    chosen: str = "asked for"  # why this engine runs

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
    ) -> None:
        """Args as in `gfs_sr.runtime.backends.open_backend`."""
        built = self._computes(artifact)
        if precision is not None and precision != built:
            raise UsageError(
                f"precision {precision} was asked for, but {self.name} would compute the residual branch in {built}",
                str(artifact.path),
                f"use --precision {built}, or export the checkpoint with --precision {precision}",
            )
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads cannot run anything", "threads", "give 1 or more, or leave it out")
        self.artifact = artifact
        self.role = role
        self.contract = artifact.contract.for_frames() if role == FRAME else artifact.contract
        self.signature = signature_of(self.contract, role)
        self.precision: Precision = built
        self.threads = threads
        self._active = False

    @classmethod
    def _computes(cls, artifact: Artifact) -> Precision:
        """What the residual branch is computed in: engines that run the graph take it as it was exported."""
        return artifact.contract.precision

    @property
    @abstractmethod
    def provider(self) -> str:
        """What really computes, as the engine itself names it."""

    @property
    def is_active(self) -> bool:
        """Whether `infer` may be called."""
        return self._active

    def activate(self) -> None:
        """Load the model. A second call changes nothing.

        Raises:
            BackendNotInstalled: the engine's package or device is absent.
            ProviderMismatch: something else would compute than was asked for.
            BackendFailed: the engine refused the model.
        """
        if not self._active:
            self._guarded("cannot load the model", self._activate)
            self._active = True

    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run one batch. The next call may overwrite the result: copy what must outlive it.

        Args:
            inputs: what the signature names, shaped and typed as it says.

        Returns:
            what the signature names, float32; of a refinement {"fine": (B, r·T, C, s·H, s·W), model units}.

        Raises:
            BackendNotActive: `activate` was not called.
            ShapeMismatch: an input is missing, unknown, or of another shape or type.
            BackendFailed: the engine raised.
        """
        if not self._active:
            raise BackendNotActive(f"{self.name} is not active", "infer", "call activate() first, or use `with`")
        shapes = self.signature.check(inputs)
        outputs: Mapping[str, Array] = self._guarded("cannot run the batch", self._infer, inputs)
        for name, shape in shapes.items():
            given = outputs[name]
            if given.shape != shape or given.dtype != np.float32:
                raise BackendFailed(
                    f"{self.name} gave {given.shape} {given.dtype} for {name}; the contract promises {shape} float32",
                    str(self.artifact.path),
                    "the graph does not fit its manifest: export the checkpoint again",
                )
        return outputs

    def start(self, inputs: Mapping[str, Array], into: Array) -> Started:
        """Begin one batch whose field comes to lie in `into`; engines that compute beside the host do not wait for it.

        Args:
            inputs: as for `infer`; not to be changed before `taken` returns.
            into: shaped as the field, any strides; not to be read before `done` returns.

        Raises:
            as `infer`; what fails on the way is raised by `done`.
        """
        np.copyto(into, self.infer(inputs)["fine"])
        return DONE

    def fields(self) -> DeviceFields | None:
        """Where this engine's inputs and its result may stay between batches; None: they come from the host.

        Raises:
            BackendNotActive: `activate` was not called.
        """
        if not self._active:
            raise BackendNotActive(f"{self.name} is not active", "fields", "call activate() first, or use `with`")
        return self._fields()

    def _fields(self) -> DeviceFields | None:
        return None

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        """Host memory, zeroed, from which and to which this engine copies best."""
        return np.zeros(shape, dtype)

    def deactivate(self) -> None:
        """Let go of the model and its memory. A second call changes nothing."""
        if self._active:
            self._active = False
            self._deactivate()

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.deactivate()

    @abstractmethod
    def _activate(self) -> None: ...

    @abstractmethod
    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]: ...

    @abstractmethod
    def _deactivate(self) -> None: ...

    def _guarded(self, failing: str, step: Any, *args: Any) -> Any:
        try:
            return step(*args)
        except GfsSrError:
            raise
        except Exception as error:  # engines raise classes of their own, RuntimeError, MemoryError …
            raise BackendFailed(
                f"{self.name} {failing}: {str(error) or type(error).__name__}",
                str(self.artifact.path),
                "try another --backend or a smaller --tile; if it persists, export the checkpoint again",
            ) from error
