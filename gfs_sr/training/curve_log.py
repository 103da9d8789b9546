"""The curves of a run as a CSV file that a kill does not spoil: a resumed run goes on where its checkpoint was."""

import csv
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from gfs_sr.atomic import on_disk, write_text


class CurveLog(Logger):
    """`metrics.csv`: a row whenever something is logged, a column per figure, `step` and `epoch` first.

    Every row is in the file before the training goes on. Rows after the checkpoint from which a run is resumed are
    taken away as it starts, and come again.

    Args:
        folder: of the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "metrics.csv"
        self.rows = 0
        self._columns: list[str] = []
        self._last: dict[str, float] = {}
        self._is_open = False

    @property
    def name(self) -> str:
        """Of the logger."""
        return ""

    @property
    def version(self) -> str:
        """Of the logger."""
        return self.path.parent.name

    @rank_zero_only
    def start(self, rows: int) -> None:
        """Go on after the first `rows` rows of the file; 0 begins it anew."""
        kept: list[dict[str, str]] = []
        self._columns = ["step", "epoch"]
        if rows and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                kept = [row for _, row in zip(range(rows), reader, strict=False)]
                self._columns = list(reader.fieldnames or self._columns)
        if len(kept) < rows:
            warnings.warn(
                f"{self.path} holds {len(kept)} of the {rows} rows that the checkpoint counts: the curve has a gap",
                stacklevel=2,
            )
        self.rows, self._is_open = len(kept), True
        self._write(kept)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row, unless it says what the last one says: the rate is told with every batch that is accumulated."""
        if not self._is_open:
            self.start(0)
        row = {"step": self.rows if step is None else step, **metrics}
        if row == self._last:
            return
        self._last = row
        new = sorted(set(row) - set(self._columns))
        if new:
            with self.path.open(newline="", encoding="utf-8") as file:
                earlier = list(csv.DictReader(file))
            first, rest = self._columns[:2], sorted([*self._columns[2:], *new])
            self._columns = [*first, *rest]
            self._write([*earlier, row])
        else:
            with on_disk(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(_lines(self._columns, [row]))
        self.rows += 1

    @rank_zero_only
    def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
        """The run's configuration lies beside, as config.yaml."""

    def _write(self, rows: list[dict[str, Any]]) -> None:
        header = _lines(self._columns, [dict(zip(self._columns, self._columns, strict=True))])
        write_text(self.path, header + _lines(self._columns, rows))


def _lines(columns: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()
