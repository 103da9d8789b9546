"""What happens beside the steps of a training, one subject a file."""

from gfs_sr.training.callbacks.averaged_weights import AveragedWeights
from gfs_sr.training.callbacks.best_checkpoint import BestCheckpoint
from gfs_sr.training.callbacks.early_stopping import StopAtBest
from gfs_sr.training.callbacks.fail_fast import FailFast
from gfs_sr.training.callbacks.learning_curve import LearningCurve
from gfs_sr.training.callbacks.pictures import Pictures
from gfs_sr.training.callbacks.throughput import Throughput
from gfs_sr.training.callbacks.validation_scores import ValidationScores

__all__ = [
    "AveragedWeights",
    "BestCheckpoint",
    "FailFast",
    "LearningCurve",
    "Pictures",
    "StopAtBest",
    "Throughput",
    "ValidationScores",
]
