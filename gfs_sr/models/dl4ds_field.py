"""Features and the margin of cells around the core that they still carry: what layers of the DL4DS family pass on."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gfs_sr.models.receptive_field import Reach


@dataclass(frozen=True)
class Margin:
    """Cells before and after the core, north and west alike, south and east alike."""

    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, reach: Reach) -> "Margin":
        """The same reach in space."""
        return cls(max(reach.north, reach.west), max(reach.south, reach.east))

    @property
    def reach(self) -> Reach:
        """As a layer declares it."""
        return Reach(north=self.before, south=self.after, west=self.before, east=self.after)

    def __add__(self, other: "Margin") -> "Margin":
        """One layer after the other."""
        return Margin(self.before + other.before, self.after + other.after)

    def __sub__(self, other: "Margin") -> "Margin":
        """What a layer leaves."""
        return Margin(self.before - other.before, self.after - other.after)

    def __or__(self, other: "Margin") -> "Margin":
        """Branches side by side need the larger."""
        return Margin(max(self.before, other.before), max(self.after, other.after))

    def __and__(self, other: "Margin") -> "Margin":
        """Branches side by side keep the smaller."""
        return Margin(min(self.before, other.before), min(self.after, other.after))

    def __mul__(self, times: int) -> "Margin":
        """Layer after layer of one kind; or the same margin in cells that are so many times finer."""
        return Margin(self.before * times, self.after * times)

    def coarsened(self, factor: int) -> "Margin":
        """Cells, `factor` times coarser, that hold this margin."""
        return Margin(-(-self.before // factor), -(-self.after // factor))


@dataclass(frozen=True, eq=False)
class Field:
    """(N, C, h, w) with its margin: h and w are the core and both sides of the margin."""

    values: Tensor
    margin: Margin

    def map(self, function: Callable[[Tensor], Tensor]) -> "Field":
        """What `function` makes of the values, cell by cell."""
        return Field(function(self.values), self.margin)

    def within(self, margin: Margin) -> "Field":
        """The same with no more than `margin` around the core."""
        north, south = self.margin.before - margin.before, self.margin.after - margin.after
        if not north and not south:
            return self
        side = slice(north, -south or None)  # from the end: a traced graph needs no shapes for it
        return Field(self.values[..., side, side], margin)

    def refined(self, factor: int, values: Tensor) -> "Field":
        """`values` on cells `factor` times finer, of the same extent."""
        return Field(values, self.margin * factor)


def aligned(*fields: Field) -> tuple[Field, ...]:
    """All with the margin that each of them has."""
    margin = fields[0].margin
    for each in fields[1:]:
        margin = margin & each.margin
    return tuple(each.within(margin) for each in fields)
