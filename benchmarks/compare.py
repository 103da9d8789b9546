"""`make bench-compare`: has anything become slower than the committed results, by more than noise?

Compared are ratios of minima within one run, which hold still where seconds do not (3 % from run to run on a quiet
machine). A ratio that fell by more than 15 % is measured once more, and only what falls twice fails.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
TOLERANCE = 0.15
Key = tuple[str, str, str]  # stem, case, implementation


@dataclass(frozen=True)
class Regression:
    """A ratio that fell."""

    key: Key
    before: float
    now: float

    def __str__(self) -> str:
        stem, case, implementation = self.key
        return f"{stem}: {implementation} on {case}: {self.now:.3g} of its reference's speed, was {self.before:.3g}"


def read_ratios(folder: Path) -> dict[Key, float]:
    """The last recorded ratio of every case; references, whose ratio is 1 by definition, are left out."""
    ratios: dict[Key, float] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                key = (row["stem"], row["case"], row["implementation"])
                if row["min_ratio_to_reference"] not in ("", "1"):
                    ratios[key] = float(row["min_ratio_to_reference"])
    return ratios


def regressions(before: Mapping[Key, float], now: Mapping[Key, float]) -> list[Regression]:
    """What fell by more than the tolerance, of what both know."""
    return [
        Regression(key, before[key], ratio)
        for key, ratio in now.items()
        if key in before and ratio < (1 - TOLERANCE) * before[key]
    ]


def measure(stems: Iterable[str], folder: Path) -> dict[Key, float]:
    """Run the benchmarks of those stems and read what they recorded."""
    files = [str(HERE / f"bench_{stem}.py") for stem in sorted(stems)]
    command = [sys.executable, "-m", "pytest", *files, "--benchmark-enable", "-q", "-m", "", "--record"]
    subprocess.run([*command, "--results", str(folder)], check=True, cwd=HERE.parent)
    return read_ratios(folder)


def main() -> int:
    """Compare and report; 1 if anything fell twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in RESULTS.glob("*.csv"))
    parser.add_argument("stems", nargs="*", default=known, help=f"of: {', '.join(known)}; default all")
    stems = parser.parse_args().stems
    before = read_ratios(RESULTS)
    fallen: list[Regression] = []
    compared: set[Key] = set()
    for attempt in range(2):
        with tempfile.TemporaryDirectory() as folder:
            now = measure(stems, Path(folder))
        found = regressions(before, now)
        compared |= before.keys() & now.keys()
        fallen = [each for each in found if attempt == 0 or each.key in {first.key for first in fallen}]
        for each in fallen:
            print(f"{'once' if attempt == 0 else 'twice'} slower: {each}")
        stems = {each.key[0] for each in fallen}
        if not stems:
            break
    print(f"{len(compared)} ratios compared, {len(fallen)} fell twice by more than {TOLERANCE:.0%}")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
