"""GRIB messages: where they lie in a file, and the fields inside one."""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from gfs_sr.errors import UnreadableFile

START, END = b"GRIB", b"7777"
SECTION_0_BYTES = 16  # of GRIB edition 2
BITMAP_AS_BEFORE = 254  # code table 6.0: the bit map of the field before
SECTIONS, NEEDED = range(1, 8), {1, 3, 4, 5, 6, 7}  # section 2 is for local use
LARGE_GRIB1 = 0x800000  # ECMWF's mark of an edition 1 message beyond 8 MiB, whose length counts units of 120 bytes

Buffer = bytes | mmap.mmap


def message_spans(path: Path) -> list[tuple[int, int]]:
    """(offset, size in bytes) of every message of a file; what lies between messages is skipped.

    Raises:
        UnreadableFile: no message, or a truncated or damaged one.
    """
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    spans: list[tuple[int, int]] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        offset = data.find(START)
        while offset >= 0:
            name = f"message {len(spans) + 1}, at byte {offset},"
            if offset + SECTION_0_BYTES > len(data):
                raise damaged(path, f"{name} breaks off")
            size = _message_size(data, offset, f"{path}", name)
            if offset + size > len(data):
                raise damaged(path, f"{name} is to have {size} bytes, of which {len(data) - offset} are there")
            if data[offset + size - 4 : offset + size] != END:
                raise damaged(path, f"{name} does not end where it says")
            spans.append((offset, size))
            offset = data.find(START, offset + size)
    if not spans:
        raise damaged(path, "no GRIB message in it")
    return spans


def damaged(path: Path | str, reason: str) -> UnreadableFile:
    """The error for a file whose messages cannot be decoded."""
    return UnreadableFile(
        f"not readable as GRIB: {reason}", str(path), "fetch the file again: it is cut off or damaged"
    )


def split_fields(message: bytes) -> Iterator[bytes]:
    """The fields of a message, each as a message of its own.

    GRIB edition 2 lets sections 2 to 7 repeat (NCEP stores u and v so); a reader that takes one field per message
    loses the rest. A field keeps the sections before it that it does not replace.

    Raises:
        ValueError: a section is damaged or missing.

    Source: WMO-No. 306, volume I.2, FM 92 GRIB, regulation 92.1.
    """
    if message[7] != 2:
        yield message
        return
    position, bitmap = SECTION_0_BYTES, b""
    held: dict[int, bytes] = {}
    while message[position : position + 4] != END:
        (length,) = struct.unpack(">I", message[position : position + 4])
        number = message[position + 4]
        if length < 5 or position + length > len(message) - len(END):
            raise ValueError(f"section {number} of {length} bytes overruns its message")
        if number not in SECTIONS:
            raise ValueError(f"there is no section {number}")
        section = message[position : position + length]
        position += length
        if number == 6 and section[5] != BITMAP_AS_BEFORE:
            bitmap = section
        held[number] = bitmap if number == 6 and bitmap else section
        if number == 7:
            if not held.keys() >= NEEDED:
                raise ValueError(f"a field without section {min(NEEDED - held.keys())}")
            body = b"".join(held[key] for key in sorted(held)) + END
            yield message[:8] + struct.pack(">Q", SECTION_0_BYTES + len(body)) + body


def _message_size(data: Buffer, offset: int, path: str, name: str) -> int:
    edition = data[offset + 7]
    if edition == 2:
        return int.from_bytes(data[offset + 8 : offset + 16], "big")
    if edition != 1:
        raise damaged(path, f"{name} is of edition {edition}")
    size = int.from_bytes(data[offset + 4 : offset + 7], "big")
    if size < LARGE_GRIB1:
        return size
    flags, position = data[offset + 8 + 7], offset + 8
    sections = 1 + bool(flags & 0x80) + bool(flags & 0x40)  # product, grid and bit map sections lie before the data
    for _ in range(sections):
        position += int.from_bytes(data[position : position + 3], "big")
    data_section = int.from_bytes(data[position : position + 3], "big")
    size = (size & (LARGE_GRIB1 - 1)) * 120
    return size - data_section + 4 if data_section < 120 else size
