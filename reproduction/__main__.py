"""`python -m reproduction [-o docs/reproduction.md]`: write the sheet."""

import argparse
from pathlib import Path

from reproduction.sheet import our_evaluation, our_figures, sheet


def main() -> None:
    """Score protocol A on the bundled day and write the page."""
    parser = argparse.ArgumentParser(prog="python -m reproduction", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs") / "reproduction.md")
    target: Path = parser.parse_args().output
    evaluation = our_evaluation()
    page = sheet(our_figures(evaluation), evaluation.model, evaluation.model_facts[evaluation.model]["SHA-256"])
    target.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
