"""Named sets of defaults: any key that a configuration or the command line gives beats them."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from gfs_sr.errors import UsageError


def _by_steps(
    training: str, lr: float, every: int, precision: str = "32-true", weights: dict[str, float] | None = None
) -> dict[str, Any]:
    """Of the diffusion system and its benchmarks: Adam whose rate falls by a tenth every so many epochs."""
    return {
        "training": training,
        "model.loss.weights": {"mse": 1.0},
        **({} if weights is None else {"model.loss.variables": weights}),
        "model.optimizer.method": "adam",
        "model.optimizer.lr": lr,
        "model.optimizer.min_lr": 0.0,
        "model.optimizer.betas": [0.9, 0.999],
        "model.optimizer.weight_decay": 0.0,
        "model.optimizer.schedule": "step",
        "model.optimizer.gamma": 0.9,
        "model.optimizer.every": every,
        "trainer.max_epochs": 250,
        "trainer.gradient_clip_val": 1.0,
        "trainer.precision": precision,
    }


PRESETS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    # the first seed system's: a longer warm-up, and the weight that its loss module gives to spectra
    "sharp_psd": {
        "model.loss.weights": {"l1": 1.0, "dt": 0.05, "grad": 0.03, "psd": 0.015},
        "model.optimizer.schedule": "warmup-cosine",
        "model.optimizer.warmup_steps": 1500,
    },
    # the self-supervised one's
    "temdeep": {
        "model.loss.weights": {"charbonnier": 1.0},
        "model.optimizer.method": "adam",
        "model.optimizer.lr": 1e-4,
        "model.optimizer.min_lr": 0.0,
        "model.optimizer.betas": [0.9, 0.999],
        "model.optimizer.weight_decay": 1e-3,
        "model.optimizer.schedule": "multi-step",
        "model.optimizer.milestones": [250, 450],
        "trainer.max_epochs": 500,
    },
    # the downscaling family's conditional GAN
    "dl4ds-cgan": {
        "training": "adversarial",
        "model.loss.weights": {"mae": 1.0},
        "model.optimizer.method": "adam",
        "model.optimizer.lr": 2e-4,
        "model.optimizer.min_lr": 0.0,
        "model.optimizer.betas": [0.5, 0.999],
        "model.optimizer.weight_decay": 0.0,
        "model.optimizer.schedule": "constant",
        "trainer.max_epochs": 60,
    },
    # the downscaling family's
    "dl4ds": {
        "model.loss.weights": {"mae": 1.0},
        "model.optimizer.method": "adam",
        "model.optimizer.lr": 1e-3,
        "model.optimizer.min_lr": 0.0,
        "model.optimizer.betas": [0.9, 0.999],
        "model.optimizer.weight_decay": 0.0,
        "model.optimizer.schedule": "piecewise",
        "model.optimizer.milestones": [100_000],
        "trainer.max_epochs": 60,
    },
    # the diffusion system's, for precipitation (p) and temperature (T); cnn: its regression
    "diffusion_p": _by_steps("diffusion", 4e-4, 100, "bf16-mixed"),
    "diffusion_pT": _by_steps("diffusion", 2e-4, 10, weights={"tp": 1.0, "t2m": 0.3}),
    "diffusion_pT_gcm": _by_steps("diffusion", 4e-4, 100, weights={"tp": 0.2, "t2m": 1.0}),
    "vp_p": _by_steps("diffusion", 2e-4, 30),
    "vp_pT": _by_steps("diffusion", 2e-4, 50, "bf16-mixed"),  # fp16 there, which no CPU trains in
    "cnn_p": _by_steps("supervised", 1e-4, 10),
    "cnn_T": _by_steps("supervised", 1e-4, 10),
    # and its conditional GAN: of the family gan
    "gan": {
        "training": "adversarial",
        "model.loss.weights": {"mae": 1.0},
        "model.optimizer.method": "adam",
        "model.optimizer.lr": 2e-4,
        "model.optimizer.min_lr": 0.0,
        "model.optimizer.betas": [0.9, 0.999],
        "model.optimizer.weight_decay": 0.0,
        "model.optimizer.schedule": "constant",
        "model.adversarial.discriminator": "patch_global",
        "model.adversarial.n_filters": 128,
        "model.adversarial.n_blocks": 2,
        "model.adversarial.dropout": 0.0,
        "model.adversarial.lr": 1e-5,
        "model.adversarial.members": 4,
        "model.adversarial.content_steps": 5000,
        "model.adversarial.alternate": True,
        "model.adversarial.adaptive": True,
        "trainer.max_epochs": 300,
        "checkpoints.every_epochs": 5,
    },
}


def last_word(key: str, argv: Sequence[str]) -> str | None:
    """What arguments, or the configuration files they name, give for a key of the top level, if anything."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{key}", dest="word")
    parser.add_argument("-c", "--config", action="append", default=[])
    known, _ = parser.parse_known_args(list(argv))
    for path in reversed(known.config):
        if known.word is None and Path(path).is_file():
            held = yaml.safe_load(Path(path).read_text())
            known.word = held.get(key) if isinstance(held, dict) else None
    return None if known.word is None else str(known.word)


def asked_for(argv: Sequence[str]) -> str:
    """The preset that arguments or the configuration files they name ask for; the last word counts.

    Raises:
        UsageError: no preset of that name.
    """
    name = last_word("preset", argv) or "none"
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"unknown preset {name!r}", "gfs-sr train --preset", f"{meant}use: {', '.join(PRESETS)}")
    return name
