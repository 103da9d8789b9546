"""How long a NetCDF-3 file must be by its own header: the library reads a cut-off one as if it held zeros.

Source: NetCDF classic format specification, https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

T = TypeVar("T")

RECORDS_UNKNOWN = 0xFFFFFFFF  # a stream whose writer did not know the number of records
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


def expected_size(path: Path) -> int | None:
    """Bytes that the header promises, without padding after the last value; None for another format.

    Raises:
        EOFError: the header itself breaks off.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3] not in {1, 2, 5}:
            return None
        return _Header(file, magic[3]).size()


class _Header:
    def __init__(self, file: BinaryIO, version: int) -> None:
        self._file = file
        self._count_bytes = 8 if version == 5 else 4
        self._offset_bytes = 4 if version == 1 else 8

    def size(self) -> int:
        records = self._count()
        lengths = [self._named(self._count) for _ in range(self._tagged())]
        self._skip_attributes()
        ends, record_bytes = [0], 0
        record_begins: list[tuple[int, int]] = []
        variables = [self._named(lambda: self._variable(lengths)) for _ in range(self._tagged())]
        per_record = [size for is_record, size, _ in variables if is_record]
        for is_record, size, begin in variables:
            if is_record:
                record_begins.append((begin, size))
                # one record variable alone is packed without padding
                record_bytes += size if len(per_record) == 1 else (size + 3) // 4 * 4
            else:
                ends.append(begin + size)
        if record_begins and 0 < records < RECORDS_UNKNOWN:
            last, size = max(record_begins)
            ends.append(last + (records - 1) * record_bytes + size)
        return max(ends)

    def _variable(self, lengths: list[int]) -> tuple[bool, int, int]:
        """(is a record variable, bytes without padding (of one record), offset)."""
        dims = [lengths[self._count()] for _ in range(self._count())]
        self._skip_attributes()
        width = TYPE_BYTES.get(self._integer(4), 1)
        self._count()  # the padded size, which overflows for large variables
        begin = self._integer(self._offset_bytes)
        is_record = bool(dims) and dims[0] == 0
        size = width
        for length in dims[1:] if is_record else dims:
            size *= length
        return is_record, size, begin

    def _named(self, read: Callable[[], T]) -> T:
        self._skip(self._count())
        return read()

    def _skip_attributes(self) -> None:
        for _ in range(self._tagged()):
            self._skip(self._count())
            width = TYPE_BYTES.get(self._integer(4), 1)
            self._skip(self._count() * width)

    def _tagged(self) -> int:
        """Number of entries of a list; its tag, absent or not, is of no interest."""
        self._integer(4)
        return self._count()

    def _count(self) -> int:
        return self._integer(self._count_bytes)

    def _integer(self, width: int) -> int:
        data = self._file.read(width)
        if len(data) < width:
            raise EOFError("the header breaks off")
        return int.from_bytes(data, "big")

    def _skip(self, size: int) -> None:
        self._file.seek((size + 3) // 4 * 4, 1)
