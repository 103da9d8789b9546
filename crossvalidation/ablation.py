"""`python -m crossvalidation.ablation`: what the regularizers of a network of time are worth, on sources left out."""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from crossvalidation.between import interpolation, network
from crossvalidation.command import tabled, write_csv
from crossvalidation.restoration import ALL, TRANSITIONS, Restoration, score_packed
from gfs_sr.errors import UsageError
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.training import main as training

WEIGHT: Final = 0.01  # of either term
VARIANTS: Final = {"none": (0.0, 0.0), "TV": (WEIGHT, 0.0), "temporal": (0.0, WEIGHT), "both": (WEIGHT, WEIGHT)}


def ablate(
    configs: Sequence[Path], sources: Sequence[str], scratch: Path, time_factors: Sequence[int]
) -> list[Restoration]:
    """Train each variant without the sources, score it on them; a variant that is trained already is not trained again.

    Raises:
        UsageError: a configuration without a packed set, or a source that is not there.
    """
    given = [part for path in configs for part in ("-c", str(path))]
    data = training.parse([*given, f"--output={scratch}"]).datamodule
    if data.packed is None:
        raise UsageError("names no packed set", "data.packed", "pack one: gfs_sr.training.pack")
    left_out = [*data.leave_out, *(each for each in sources if each not in data.validation)]
    lines: list[Restoration] = []
    for name, (tv, bend) in VARIANTS.items():
        command = training.parse(
            [
                *given,
                f"--output={scratch / name}",
                f"--data.leave_out={json.dumps(left_out)}",
                f"--model.self_supervised.tv={tv}",
                f"--model.self_supervised.bend={bend}",
            ]
        )
        done = scratch / name / f"{command.model.offered_as}.ckpt"
        checkpoint = load_checkpoint(done if done.is_file() else training.run(command))
        methods = {"linear": interpolation("linear"), name: network(checkpoint)}
        found = score_packed(data.folder / data.packed, sources, time_factors, methods, None)
        lines += [replace(line, method=name) for line in found if line.method == name]
    return lines


def table(lines: Sequence[Restoration]) -> str:
    """Markdown: mean restoration rates of the variants over sources and variables."""
    rows = [f"| hours | times | {' | '.join(VARIANTS)} |", f"|{'---|' * (2 + len(VARIANTS))}"]
    whole = [line for line in lines if not line.fraction]
    for hours in sorted({line.hours for line in whole}):
        for times in (ALL, TRANSITIONS):
            means = [
                statistics.mean(
                    line.restoration for line in whole if (line.hours, line.times, line.method) == (hours, times, name)
                )
                for name in VARIANTS
            ]
            rows.append(f"| {hours:g} | {times} | {' | '.join(f'{100 * mean:.1f} %' for mean in means)} |")
    return "\n".join(rows) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.ablation", description=__doc__)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True, help="as gfs-sr train takes them")
    parser.add_argument("--sources", nargs="+", required=True, help="that are left out, and scored")
    parser.add_argument("--time-factors", type=int, nargs="+", default=[3, 6])
    parser.add_argument("--scratch", type=Path, default=Path("runs/ablation"), help="folder of the runs")
    parser.add_argument("--figures", type=Path, default=None, help="folder of its bars; default: none are drawn")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV; its table is written beside it, .md")
    asked = parser.parse_args(argv)

    def score() -> str:
        lines = ablate(asked.config, asked.sources, asked.scratch, asked.time_factors)
        write_csv(Restoration, lines, asked.output)
        if asked.figures is not None:
            from crossvalidation.pictures import bars, save  # matplotlib takes long to import

            save("ablation", bars(lines), asked.figures)
        return table(lines)

    return tabled(score, asked.output)


if __name__ == "__main__":
    sys.exit(main())
