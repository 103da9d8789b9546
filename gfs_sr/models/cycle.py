"""Two passes of a network of time: fields between the frames, and between those a frame again."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gfs_sr.models.interpolation import pad_edges
from gfs_sr.models.receptive_field import Reach, crop
from gfs_sr.models.time_model import TimeModel, linear_between


@dataclass(frozen=True, eq=False)
class Passes:
    """What both passes gave, (B, T, C, H, W) each."""

    between: Tensor  # the first: a field in each of n intervals
    linear: Tensor  # the same by linear interpolation
    before: Tensor  # the frames before them
    after: Tensor  # and after them
    fraction: Tensor  # (B, 1, 1, 1, 1), theta
    returned: Tensor  # the second, at 1 - theta between two of the first: a frame of the archive, if all is well
    base: Tensor  # the same by two linear interpolations


class Cycle:
    """The two passes of one network.

    Fields at T₀ + θτ and T₀ + (1 + θ)τ have the frame at T₀ + τ at the fraction 1 - θ between them.
    """

    def __init__(self, network: TimeModel) -> None:
        self.network = network
        reach = network.reach
        self.around = network.context if isinstance(reach, str) else Reach(before=reach.before, after=reach.after)
        self.margin = Reach() if isinstance(reach, str) else reach - self.around

    def __call__(self, part: Mapping[str, Tensor]) -> Passes:
        """Both.

        Args:
            part: a batch of the kind `cycle`: `coarse` with n = before + 1 + after intervals and the context of their
                own, `fraction` (B, 1), and what else the network takes.
        """
        k, coarse = self.around.before, part["coarse"]
        theta = part["fraction"]
        n = k + 1 + self.around.after
        inner = crop(coarse, self.margin)
        before, after = inner[:, k : k + n], inner[:, k + 1 : k + 1 + n]
        between = self.first_pass(part)
        linear = linear_between(before, after, theta[:, None])
        base = linear_between(linear[:, k : k + 1], linear[:, k + 1 : k + 2], 1 - theta[:, None])
        returned = self.second_pass(part, between)
        return Passes(between, linear, before, after, theta[:, :, None, None, None], returned, base)

    def first_pass(self, part: Mapping[str, Tensor]) -> Tensor:
        """(B, n, C, H, W): a field in each interval."""
        inputs = self.network.inputs_of(part)
        n = 2 * self.around.before + 1 + 2 * self.around.after  # frames with their context
        assert inputs["coarse"].shape[1] == n  # ours alone: the sampler makes them
        fine: Tensor = self.network(**inputs)
        return fine[:, : self.around.before + 1 + self.around.after]

    def second_pass(self, part: Mapping[str, Tensor], between: Tensor) -> Tensor:
        """(B, 1, C, H, W): the frame at 1 - theta between the fields around it."""
        k = self.around.before
        inputs = self.network.inputs_of(part)
        inputs["coarse"] = pad_edges(between, self.margin)
        inputs["fraction"] = 1 - part["fraction"]
        if "predictor_coarse" in inputs:
            target = 2 * k + 1  # among the frames with their context
            inputs["predictor_coarse"] = part["predictor_coarse_fine_time"]
            inputs["predictor_coarse_fine_time"] = part["predictor_coarse"][:, target : target + 1]
        returned: Tensor = self.network(**inputs)
        return returned[:, k : k + 1] if isinstance(self.network.reach, str) else returned
