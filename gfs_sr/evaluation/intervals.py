"""Block-bootstrap intervals of skill: time and place are resampled, each by itself.

Errors hang together over a coarse interval and over terrain that stays where it is, so neither frames nor cells are
independent draws. Runs of frames (or whole forecasts, where there are many) and blocks of cells are drawn with
replacement, and every sum counts as often as its run times as often as its block: the pigeonhole bootstrap of Owen 2007
(Ann. Appl. Stat. 1), whose intervals err on the wide side. The same draws serve every method and variable, and the best
interpolation is chosen anew in every draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gfs_sr.data.grid import FloatArray
from gfs_sr.evaluation.contest import Contest, region_of
from gfs_sr.evaluation.records import Interval

DRAWS = 500
LEVEL = 0.95
MANY_FORECASTS = 10  # from here on whole forecasts are drawn, not runs of their frames
LEAST_UNITS = 8  # runs times blocks; fewer say nothing


@dataclass(frozen=True, eq=False)
class Resampler:
    """The draws for one task: its contests, forecast by forecast."""

    cases: Sequence[Mapping[str, Contest]]  # per forecast: variable -> contest
    seed: int = 0

    @cached_property
    def _runs(self) -> list[FloatArray]:
        """Per forecast: (DRAWS, units) how often each run of its frames is drawn."""
        counts = [max((int(contest.units.max()) + 1 for contest in case.values()), default=0) for case in self.cases]
        generator = np.random.Generator(np.random.PCG64([self.seed, 0]))
        present = [number for number, count in enumerate(counts) if count]
        if len(present) >= MANY_FORECASTS:
            drawn = _multinomial(generator, len(present))
            place = {number: column for column, number in enumerate(present)}
            return [
                np.repeat(drawn[:, place[number], None], count, axis=1) if count else np.zeros((DRAWS, 0))
                for number, count in enumerate(counts)
            ]
        drawn = _multinomial(generator, sum(counts))
        ends = np.cumsum(counts)
        return [drawn[:, end - count : end] for end, count in zip(ends, counts, strict=True)]

    @cached_property
    def _blocks(self) -> dict[str, FloatArray]:
        """Place -> (DRAWS, blocks)."""
        found: dict[str, FloatArray] = {}
        for case in self.cases:
            for contest in case.values():
                count = next(iter(contest.by_block.values())).shape[2]
                if contest.place not in found:
                    generator = np.random.Generator(np.random.PCG64([self.seed, 1, len(found)]))
                    found[contest.place] = _multinomial(generator, count)
        return found

    def rmse(self, variable: str, region: str, lead_class: str) -> dict[str, FloatArray]:
        """Method -> (DRAWS,) resampled RMSE, of the methods with blocks; empty where there are too few units."""
        total: dict[str, FloatArray] = {}
        units = 0
        for number, case in enumerate(self.cases):
            contest = case.get(variable)
            where = None if contest is None else region_of(contest, region)
            if contest is None or where is None or lead_class not in contest.classes:
                continue
            chosen = contest.unit_classes()[lead_class]
            runs, blocks = self._runs[number][:, chosen], self._blocks[contest.place]
            occupied = next(iter(contest.by_block.values()))[chosen, where, :, 0].sum(axis=0) > 0
            units += chosen.size * int(occupied.sum())
            for method, sums in contest.by_block.items():
                drawn = np.einsum("du,ubk->dbk", runs, sums[chosen, where])
                found = np.einsum("db,dbk->dk", blocks, drawn)
                total[method] = total.get(method, 0.0) + found
        if units < LEAST_UNITS:
            return {}
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw may hold no cell of a small region
            return {method: np.sqrt(sums[:, 1] / sums[:, 0]) for method, sums in total.items()}


def skill_draws(drawn: Mapping[str, FloatArray], model: str, rivals: Sequence[str]) -> FloatArray | None:
    """(DRAWS,) skill against the best of the rivals in each draw; None without draws."""
    present = [drawn[name] for name in rivals if name in drawn]
    if model not in drawn or not present:
        return None
    best = np.min(present, axis=0)
    skill: FloatArray = 1 - np.divide(drawn[model], best, out=np.full_like(best, np.nan), where=best > 0)
    return skill


def interval_of(draws: FloatArray | None) -> Interval | None:
    """The middle 95 % of the draws; None where fewer than half of them are numbers."""
    if draws is None or np.isfinite(draws).sum() * 2 < draws.size:
        return None
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _multinomial(generator: np.random.Generator, count: int) -> FloatArray:
    """(DRAWS, count) how often each of `count` is drawn when `count` are, with replacement."""
    if count == 0:
        return np.zeros((DRAWS, 0))
    return generator.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
