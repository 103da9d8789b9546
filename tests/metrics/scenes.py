"""Scenes with known answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.metrics.scene import Scene
from tests import fields


def scene(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], **more: Any) -> Scene:
    """Prediction and truth of (T, H, W), or (H, W) for a single frame; nothing else is known unless it is given."""
    if truth.ndim == 2:
        truth, prediction = truth[None], prediction[..., None, :, :]
    return replace(Scene(prediction, truth, None, 1.0), **more)


def rough(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """White noise of any shape."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)


def rain(frames: int, height: int, width: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Amounts in kg m-2: a few wet objects on dry ground."""
    return np.maximum(3 * fields.waves(frames, height, width, seed) - 4, 0)


def exchangeable(members: int, *shape: int, seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Members (M, ...) and a truth (...) that are draws of one distribution, correlated through what they share."""
    draws = rough(members + 1, *shape, seed=seed) + 2 * rough(*shape, seed=seed + 1)
    return draws[1:], draws[0]
