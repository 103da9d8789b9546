"""The page that goes with an artifact."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from export.publication import publish
from gfs_sr.contract import Skill
from gfs_sr.errors import DigestMismatch
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.card import CARD, model_card
from tests.export.checkpoints import make_checkpoint
from tests.interpolating_artifact import interpolation_contract

SKILL = (
    Skill(data="a day, space and time", variable="t2m", skill=0.25, skill_sharpened=0.18, best_baseline="x",
          interval=(0.1, 0.4)),
    Skill(data="a day, space and time", variable="msl", skill=0.1, skill_sharpened=-0.05, best_baseline="y"),
    Skill(data="another", variable="u10", skill=-0.02, skill_sharpened=-0.07, best_baseline="z"),
)  # fmt: skip
PROVENANCE = {"trained on": "era5_uk, poland", "period": "2017-01-01 to 2025-11-04", "data digest": "abc", "seed": "0"}


@pytest.fixture
def card() -> str:
    return model_card(
        interpolation_contract(),
        parameters=1234567,
        flops_per_fine_cell=20527.0,
        parity=(),
        skill=SKILL,
        provenance=PROVENANCE,
    )


def test_a_card_says_what_a_user_must_know(card: str) -> None:
    titles = re.findall(r"^## (.+)$", card, re.MULTILINE)
    assert titles == [
        "How to run it", "Data", "Protocol", "Skill", "Training envelope", "Parity", "Limits", "Provenance",
    ]  # fmt: skip
    assert "period: 2017-01-01 to 2025-11-04" in card
    assert "licences: not stated" in card
    assert "1,234,567 parameters" in card
    assert "| t2m | +25.0 % [+10.0, +40.0] | +18.0 % | x |" in card
    assert "| t2m | K | 200 | 280 | 325 |" in card
    assert "gfs-sr upscale" in card


def test_a_card_says_where_the_model_loses(card: str) -> None:
    limits = card.partition("## Limits")[2]
    assert "Worse than plain interpolation: u10 (-2.0 %, another)." in limits
    assert "Worse than sharpened interpolation: msl (-5.0 %, a day, space and time)." in limits
    assert "t2m" not in limits.partition("## Provenance")[0]


def test_an_export_writes_the_card_and_the_manifest_digests_it(tmp_path: Path) -> None:
    checkpoint = replace(make_checkpoint({"family": "interpolation"}), skill=SKILL, provenance=PROVENANCE)
    artifact = publish(checkpoint, tmp_path / "artifact").artifact
    assert CARD in artifact.manifest.files
    card = (artifact.path / CARD).read_text()
    assert artifact.contract.name in card
    for line in artifact.manifest.parity:
        assert f"| {line.variable} | {line.units} | {line.max_abs:.2g} |" in card
    (artifact.path / CARD).write_text(card.replace("+25.0", "+95.0"))
    with pytest.raises(DigestMismatch, match=CARD):
        Artifact.open(artifact.path)
