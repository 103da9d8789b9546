"""Every error gfs_sr raises on purpose: what happened, where, and how to mend it.

```
GfsSrError               exit 1
├── TrainingFailed       exit 1
├── UsageError           exit 2   MemoryBudgetTooSmall · MembersRefused · OutputExists
├── InputError           exit 3   MissingVariable · MissingFile · UnreadableFile · WrongUnits · UnsupportedGrid
│                                 GapInLeadTimes · UnsortedTimes · AmbiguousField · AllMissing · ValuesOutOfBounds
│                                 RegistrationMismatch · ShapeMismatch · NothingToUpscale
├── ArtifactError        exit 4   ManifestMissing · ManifestInvalid · FormatTooNew · ArtifactFileMissing
│                                 DigestMismatch · CheckpointInvalid · ParityFailed · EngineMismatch
├── BackendError         exit 5   BackendNotInstalled · BackendNotActive · ProviderMismatch · BackendFailed
├── Interrupted          exit 6
└── DiskFailed           exit 7
```
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Final


class GfsSrError(Exception):
    """What happened, where, and how to mend it."""

    exit_code = 1

    def __init__(self, what: str, where: str, mend: str) -> None:
        super().__init__(what, where, mend)  # all three in args: a worker process carries errors home by pickle

    @property
    def what(self) -> str:
        """The fact, with the offending value."""
        return str(self.args[0])

    @property
    def where(self) -> str:
        """File, variable, frame or option."""
        return str(self.args[1])

    @property
    def mend(self) -> str:
        """What the user can do."""
        return str(self.args[2])

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  mend:  {self.mend}"


class UsageError(GfsSrError):
    """The command or call asks for what cannot be."""

    exit_code = 2


class MemoryBudgetTooSmall(UsageError):
    """Even the smallest plan needs more memory than was allowed."""


class MembersRefused(UsageError):
    """An ensemble was asked of a deterministic model."""


class OutputExists(UsageError):
    """The output path is taken, and overwriting was not asked for."""


class TrainingFailed(GfsSrError):
    """The loss of a training is not finite any more, or exploded."""


class InputError(GfsSrError):
    """The input data cannot be used as they are."""

    exit_code = 3


class MissingVariable(InputError):
    """A variable that was asked for is not in the input."""


class MissingFile(InputError):
    """An input path does not exist."""


class UnreadableFile(InputError):
    """A file is truncated, damaged, or of no known format."""


class WrongUnits(InputError):
    """Units that cannot be converted to the variable's."""


class UnsupportedGrid(InputError):
    """Not a regular latitude-longitude grid, or one too small for what is asked."""


class GapInLeadTimes(InputError):
    """Lead times are missing or unevenly spaced."""


class UnsortedTimes(InputError):
    """Times fall or occur twice."""


class AmbiguousField(InputError):
    """Several fields of the input fit one variable, and no rule chooses."""


class AllMissing(InputError):
    """A field holds no finite value."""


class ValuesOutOfBounds(InputError):
    """Values no weather has: a fill value nobody declared, or the wrong field under the name."""


class RegistrationMismatch(InputError):
    """Data of one registration for a model of the other."""


class ShapeMismatch(InputError):
    """Arrays whose shapes do not fit together."""


class NothingToUpscale(InputError):
    """None of the model's variables is in the input."""


class ArtifactError(GfsSrError):
    """An artifact, checkpoint or engine is refused."""

    exit_code = 4


class ManifestMissing(ArtifactError):
    """No manifest.json in the folder."""


class ManifestInvalid(ArtifactError):
    """The manifest is no JSON, or not of the schema."""


class FormatTooNew(ArtifactError):
    """The artifact was written by a later version."""


class ArtifactFileMissing(ArtifactError):
    """A file the manifest lists is absent."""


class DigestMismatch(ArtifactError):
    """A file's bytes are not those the manifest promises."""


class CheckpointInvalid(ArtifactError):
    """A checkpoint cannot be read, or is not one of ours."""


class ParityFailed(ArtifactError):
    """Two engines disagree by more than the tolerance, so nothing was published."""


class EngineMismatch(ArtifactError):
    """A TensorRT engine built for another device, driver or version."""


class BackendError(GfsSrError):
    """An inference engine is not to be had."""

    exit_code = 5


class BackendNotInstalled(BackendError):
    """The package or device that the backend needs is absent."""


class BackendNotActive(BackendError):
    """Inference before activation."""


class ProviderMismatch(BackendError):
    """The execution provider that really runs is not the one asked for."""


class BackendFailed(BackendError):
    """The engine itself raised."""


class NegativeSkillWarning(UserWarning):
    """The model on offer is worse than plain interpolation somewhere, by its own record."""


class Interrupted(GfsSrError):
    """Stopped by the user; nothing half-written was left."""

    exit_code = 6


NOT_ENOUGH: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_ALLOWED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
NOTHING_FREE: Final = 2**20  # bytes; whoever failed on a full disk may have freed a little before it is looked at
OF_THE_MACHINE: Final = NOT_ENOUGH | NOT_ALLOWED | {errno.EIO, errno.EFBIG, errno.ENODEV, errno.ESTALE}


class DiskFailed(GfsSrError):
    """A disk is full or broken, or does not let us write."""

    exit_code = 7

    @classmethod
    def of(cls, error: Exception, place: Path, where: str) -> "DiskFailed":
        """From what a library raised while it wrote to `place`; what is free is told too, as HDF5 does not say why."""
        known = error.errno if isinstance(error, OSError) else None
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        folder, free = free_near(place)
        if known in NOT_ALLOWED and free >= NOTHING_FREE:  # of a full disk HDF5 says "Permission denied"
            mend = f"allow writing to {folder}, or write elsewhere"
        else:
            mend = f"free space on the disk of {folder}, or write elsewhere; then run the command again"
        return cls(f"could not be written: {reason} ({free / 2**20:,.1f} MiB free)", where, mend)


def free_near(place: Path) -> tuple[Path, int]:
    """The innermost folder of `place` that is there, and the bytes that are free on its disk."""
    folder = next(each for each in (place.absolute(), *place.absolute().parents) if each.is_dir())
    return folder, shutil.disk_usage(folder).free


def disk_failure(error: Exception) -> DiskFailed | None:
    """What a command says where a disk failed and nothing nearer to the file has said so; None of any other error."""
    if not isinstance(error, OSError) or error.errno not in OF_THE_MACHINE:
        return None
    if isinstance(error.filename, str | bytes):
        place = Path(os.fsdecode(error.filename))
        if error.errno in NOT_ALLOWED:  # to read or to write, which an error does not say
            return DiskFailed(f"{error.strerror}", str(place), "allow it, or choose another place")
        return DiskFailed.of(error, place, str(place))
    return DiskFailed(
        f"could not be written: {error.strerror}",
        "a file that the system does not name",
        "free space on the disks that are written to, the temporary folder's among them; then run the command again",
    )
