"""`python -m crossvalidation -c CONFIG.yaml -o OUT.csv`: every fold is left out in turn, trained without, scored."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from crossvalidation.command import tabled
from crossvalidation.lines import FoldLine, read_lines, summary, write_lines
from crossvalidation.recipe import Recipe, train_without
from crossvalidation.scores import is_scored, score_source
from gfs_sr.errors import UsageError


def cross_validate(
    recipe: Recipe, output: Path, scratch: Path, time_factors: Sequence[int], only: Sequence[str] | None = None
) -> list[FoldLine]:
    """Train without each fold, score each of its sources, add its lines to `output`.

    Sources whose lines are there are not scored again, and a fold without anything to score is not trained.

    Raises:
        UsageError: `output` holds lines of another recipe, or a fold does not exist.
    """
    lines = read_lines(output)
    for line in lines:
        if line.recipe != recipe.digest:
            raise UsageError(
                f"holds lines of another recipe, {line.recipe}; this is {recipe.digest}",
                str(output),
                "give another --output, or remove it",
            )
    folds = recipe.folds()
    for name in only or ():
        if name not in folds:
            raise UsageError(f"no fold {name!r}", "--only", f"use: {', '.join(folds)}")
    done = {line.source for line in lines}
    for fold, sources in folds.items():
        scored = {
            source: sets
            for source in sources
            if (sets := [each for each in recipe.sets if each.source == source and is_scored(each, recipe.contract)])
        }
        if (only and fold not in only) or done.issuperset(scored):
            continue
        folder = scratch / f"{recipe.name}-{recipe.digest}" / fold
        trained = train_without(recipe, sources, folder, time_factors)
        for source in scored:
            if source in done:
                continue
            found = [
                FoldLine.of(
                    score,
                    registration=str(recipe.contract.registration),
                    fold=fold,
                    source=source,
                    steps=trained.steps,
                    recipe=recipe.digest,
                    model=trained.model,
                )
                for score in score_source(scored[source], trained.artifacts)
            ]
            lines += found
            write_lines(lines, output)
            _say(f"{recipe.name} without {fold}: {source} scored, {len(found)} lines")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation", description="Leave-one-group-out validation.")
    parser.add_argument("-c", "--config", type=Path, action="append", required=True, help="as gfs-sr train takes them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV; its summary is written beside it, .md")
    parser.add_argument("--scratch", type=Path, default=Path("runs/folds"), help="folder of the runs")
    parser.add_argument("--time-factors", type=int, nargs="+", default=[6, 3], help="that the weights are scored at")
    parser.add_argument("--only", nargs="+", default=None, help="folds; default all")
    asked = parser.parse_args(argv)

    def score() -> str:
        recipe = Recipe.read(asked.config, asked.scratch)
        return summary(cross_validate(recipe, asked.output, asked.scratch, asked.time_factors, asked.only))

    return tabled(score, asked.output)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
