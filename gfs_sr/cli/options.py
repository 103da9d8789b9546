"""Options that several commands share, and how their text is read."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from gfs_sr.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout at the end, errors too.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")]
Model = Annotated[
    str, typer.Option("--model", help="Artifact folder, or name of a bundled model (see `gfs-sr models`).")
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        help="auto, torch[-cuda|-compile], aotinductor, onnxruntime[-cuda|-tensorrt], openvino, tensorrt.",
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads that compute; default all cores.")]
Variables = Annotated[str | None, typer.Option("--variables", help="Canonical names, comma-separated, as in t2m,d2m.")]

Member = TypeVar("Member", bound=StrEnum)


def names(text: str | None) -> tuple[str, ...] | None:
    """`2t, d2m` -> canonical variable names; None stays None.

    Raises:
        UsageError: no name at all.
    """
    if text is None:
        return None
    from gfs_sr.data.variables import canonical_names

    known = canonical_names()
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise UsageError("no variable is named", "--variables", "give names, as in --variables t2m,d2m")
    return tuple(dict.fromkeys(known.get(name, name) for name in found))


def member(kind: type[Member], value: str, option: str) -> Member:
    """The member of an enumeration that a text names.

    Raises:
        UsageError: it names none.
    """
    values = [str(each) for each in kind]
    if value not in values:
        raise UsageError(f"{value!r} is not allowed", option, f"choose from: {', '.join(values)}")
    return kind(value)


def precision(value: str | None) -> Any:
    """fp32, bf16, fp16, int8, or None for the artifact's.

    Raises:
        UsageError: anything else.
    """
    if value not in {None, "fp32", "fp16", "bf16", "int8"}:
        raise UsageError(f"{value!r} is no precision", "--precision", "choose from: fp32, bf16, fp16, int8")
    return value


def settings(text: str | None, option: str) -> dict[str, str]:
    """`n=30,type=karras` -> what is given for each key, as text; {} of None.

    Raises:
        UsageError: no key and value, or a key twice.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(",") if text is not None else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value) or key in found:
            raise UsageError(f"{part.strip()!r} is no new key with a value", option, f"give pairs, as in {option} n=30")
        found[key] = value
    return found
