"""Artifacts: folders that hold a deployable model; opened only after every byte was checked, published whole or not."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from pydantic_core import from_json

from gfs_sr.atomic import whole
from gfs_sr.contract import FORMAT, Contract, FileEntry, Manifest, Parity, Skill
from gfs_sr.errors import (
    ArtifactFileMissing,
    DigestMismatch,
    FormatTooNew,
    ManifestInvalid,
    ManifestMissing,
    MissingVariable,
    NegativeSkillWarning,
    OutputExists,
)

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
MODEL = "model"  # the role of the graph that refines
MEAN, DENOISER = "mean", "denoiser"  # of the graphs that draw members, in place of `model`: see contract.Denoising
FRAME = "frame"  # of the graph for frames on their own: see Contract.for_frames
PLUGINS = "plugins"  # of the graph for TensorRT that has our kernels as nodes: see export.plugins
ENGINES = "engines"  # built on the user's machine, so no digest of theirs can be in the manifest
BUNDLED = Path(__file__).parent / "bundled"
ALIASES = "aliases.json"  # {"default": "fused-node", …}: names that stand for one of the bundled folders
MAX_MANIFEST_BYTES = 16 * 2**20  # real ones take some kB; a hostile one shall not fill the memory


@dataclass(frozen=True)
class Artifact:
    """An opened artifact: its files were there and had the promised bytes."""

    path: Path
    manifest: Manifest
    sha256: str  # of manifest.json, which digests every other file: one name for the whole model
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, source: Path | str) -> "Artifact":
        """Open a folder, or a bundled artifact by its name, and verify every file's digest. Nothing is unpickled.

        Args:
            source: a folder, the name of a bundled artifact, or an alias of one such as "default".

        Raises:
            ManifestMissing: there is no such folder or bundled name, or no manifest in it.
            ManifestInvalid: the manifest cannot be understood, points out of the folder, or leaves files out.
            FormatTooNew: a later version wrote it.
            ArtifactFileMissing: a listed file is not there.
            DigestMismatch: a listed file has other bytes.
        """
        folder = _find(source)
        raw = _read_manifest(folder)
        manifest = _parse_manifest(raw, str(folder / MANIFEST))
        _verify_files(folder, manifest)
        losses = _losses(manifest.skill)
        for loss in losses:
            warnings.warn(f"{folder.name}: {loss}", NegativeSkillWarning, stacklevel=2)
        return cls(folder, manifest, hashlib.sha256(raw).hexdigest(), losses)

    @property
    def contract(self) -> Contract:
        """What the model promises."""
        return self.manifest.contract

    @property
    def weights(self) -> Path:
        """The weights, in safetensors.

        Raises:
            ArtifactFileMissing: this artifact carries none.
        """
        return self._file(WEIGHTS)

    def has_graph(self, role: str) -> bool:
        """Whether an ONNX graph plays `role`."""
        return _graph_name(role) in self.manifest.files

    def graph(self, role: str = MODEL) -> Path:
        """The ONNX graph that plays `role`.

        Raises:
            ArtifactFileMissing: there is no graph of that role.
        """
        return self._file(_graph_name(role))

    def engines(self) -> tuple[Path, ...]:
        """TensorRT engines built beside the graphs; each has a sidecar `<engine>.json` to be checked before use."""
        return tuple(sorted((self.path / ENGINES).glob("*.engine")))

    def _file(self, name: str) -> Path:
        if name not in self.manifest.files:
            raise ArtifactFileMissing(
                f"the artifact has no {name}",
                str(self.path),
                f"it holds {', '.join(sorted(self.manifest.files))}; export the checkpoint again if that is not enough",
            )
        return self.path / name


def _graph_name(role: str) -> str:
    return f"graphs/{role}.onnx"


def list_bundled() -> tuple[str, ...]:
    """Names of the artifacts that come with the package."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob(f"*/{MANIFEST}")))


def bundled_aliases() -> dict[str, str]:
    """Names that stand for a bundled artifact, such as "default"."""
    path = BUNDLED / ALIASES
    if not path.is_file():
        return {}
    return {str(alias): str(name) for alias, name in from_json(path.read_bytes()).items()}


def _find(source: Path | str) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    aliases, names = bundled_aliases(), list_bundled()
    name = aliases.get(str(source), str(source))
    if name in names:
        return BUNDLED / name
    known = ", ".join([*aliases, *names]) or "none"
    raise ManifestMissing(
        f"there is no artifact folder {str(source)!r}, and none of that name comes with the package",
        str(source),
        f"give a folder made by `python -m export.onnx`, or a bundled name: {known}",
    )


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise ManifestMissing(
            f"no {MANIFEST} in the folder",
            str(folder),
            "give the artifact's own folder; export again if it was damaged",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ManifestInvalid(
            f"{MANIFEST} has {path.stat().st_size} bytes; no manifest has more than {MAX_MANIFEST_BYTES}",
            str(path),
            "export the checkpoint again",
        )
    return path.read_bytes()


def _parse_manifest(raw: bytes, where: str) -> Manifest:
    mend = "export the checkpoint again, or fetch the artifact again"
    try:
        document = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise ManifestInvalid(f"the manifest is no JSON: {error}", where, mend) from error
    written = document.get("format") if isinstance(document, dict) else None
    if isinstance(written, int) and written > FORMAT:
        # before the schema: a later format may have any fields at all
        raise FormatTooNew(
            f"the artifact has format {written}; this version reads up to {FORMAT}",
            where,
            "install a later gfs-sr, or export the checkpoint with this one",
        )
    if not isinstance(document, dict) or "format" not in document:
        raise ManifestInvalid("the manifest names no format", where, mend)
    try:
        manifest = Manifest.model_validate_json(raw)
    except MissingVariable as error:  # of the contract's own check
        raise ManifestInvalid(f"the contract names an {error.what}", where, mend) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ManifestInvalid(f"the manifest breaks its schema at {field}: {first['msg']}", where, mend) from error
    for name in manifest.files:
        _check_name(name, where)
    return manifest


def _check_name(name: str, where: str) -> None:
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    if not inside or "\\" in name or ":" in name or "\0" in name or name == MANIFEST or path.parts[0] == ENGINES:
        raise ManifestInvalid(
            f"the manifest lists {name!r}, which is no plain path inside the artifact",
            where,
            "do not trust this artifact; export the checkpoint again",
        )


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    for root, folders, names in os.walk(folder):
        if Path(root) == folder and ENGINES in folders:
            folders.remove(ENGINES)
        for name in [*names, *(each for each in folders if (Path(root) / each).is_symlink())]:
            path = Path(root) / name
            yield path.relative_to(folder).as_posix(), path


def _verify_files(folder: Path, manifest: Manifest) -> None:
    present = dict(_files_below(folder))
    present.pop(MANIFEST, None)
    for name, path in present.items():
        if name not in manifest.files or path.is_symlink():
            what = "is a symbolic link" if path.is_symlink() else "is not listed in the manifest"
            raise ManifestInvalid(
                f"the file {name} {what}",
                str(folder),
                "move what you added elsewhere, or export the checkpoint again",
            )
    for name, entry in manifest.files.items():
        if name not in present:
            raise ArtifactFileMissing(
                f"the manifest lists {name}, which is not there",
                str(folder),
                "copy the artifact again, whole, or export the checkpoint again",
            )
        size = present[name].stat().st_size
        if size != entry.size or digest(present[name]) != entry.sha256:
            what = f"it has {size} bytes instead of {entry.size}" if size != entry.size else "its SHA-256 is another"
            raise DigestMismatch(
                f"{name} is not the file the manifest promises: {what}",
                str(folder),
                "copy the artifact again, whole, or export the checkpoint again",
            )


def _losses(skill: Sequence[Skill]) -> tuple[str, ...]:
    return tuple(
        f"this model is WORSE than {line.best_baseline} interpolation for {line.variable} on {line.data}: "
        f"skill {100 * line.skill:+.1f} %"
        for line in skill
        if line.skill < 0
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(
    folder: Path,
    *,
    contract: Contract,
    config: dict[str, object],
    parameters: int,
    flops_per_fine_cell: float,
    parity: Sequence[Parity] = (),
    skill: Sequence[Skill] = (),
    provenance: dict[str, str] | None = None,
) -> Manifest:
    """Digest every file in `folder` and write its manifest."""
    files = {
        name: FileEntry(sha256=digest(path), size=path.stat().st_size)
        for name, path in sorted(_files_below(folder))
        if name != MANIFEST
    }
    manifest = Manifest(
        contract=contract,
        config=config,
        files=files,
        parameters=parameters,
        flops_per_fine_cell=flops_per_fine_cell,
        parity=tuple(parity),
        skill=tuple(skill),
        provenance=provenance or {},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


@contextmanager
def publish_artifact(target: Path) -> Iterator[Path]:
    """A draft folder that takes the place of `target`, checked and durable, when the body ends well.

    The body fills the draft and calls `write_manifest`. If it raises, the draft vanishes and `target` is as it was.
    An artifact that stood there is replaced in one step, engines and all: they were built from its graphs.

    Raises:
        OutputExists: `target` is something else than an artifact; it is not touched.
        ArtifactError: what the body left is no artifact.
        DiskFailed: the disk is full or broken.
    """
    if target.exists() and not (target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))):
        raise OutputExists(
            f"{target} exists and is no artifact", str(target), "choose another -o; only artifacts are replaced"
        )
    with whole(target, shared=True) as draft:
        draft.mkdir()
        yield draft
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegativeSkillWarning)  # whoever opens it is told
            Artifact.open(draft)
