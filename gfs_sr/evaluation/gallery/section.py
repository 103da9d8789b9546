"""The parts of a report between its verdict and its tables."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gfs_sr.evaluation.film import Film
from gfs_sr.evaluation.picture import Picture


@dataclass(frozen=True)
class Skipped:
    """A kind of picture that these data do not allow."""

    kind: str
    reason: str


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures under one smaller heading; without a heading where there is only one group."""

    title: str
    pictures: list[Picture]


@dataclass(frozen=True, eq=False)
class Section:
    """One heading of the page."""

    key: str  # its anchor
    title: str
    how_to_read: str
    groups: list[Group] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    folded: bool = False  # shown to those who ask: the page stays short enough to read

    def pictures(self) -> Iterator[Picture]:
        """Every picture, in order."""
        for group in self.groups:
            yield from group.pictures
