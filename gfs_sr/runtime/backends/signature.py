"""What a graph takes and gives, by the role that it plays in its artifact; checked here, once, for every engine."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfs_sr.contract import Contract, Halo
from gfs_sr.errors import ShapeMismatch
from gfs_sr.runtime.artifact import DENOISER, MEAN
from gfs_sr.runtime.backends.shapes import check_inputs, input_shapes

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Core = tuple[int, int, int, int, int]  # (B, T, C, H, W), coarse frames and cells


@dataclass(frozen=True)
class Signature(ABC):
    """Names and shapes of one graph."""

    contract: Contract

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """In the graph's order."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """In the graph's order."""

    @abstractmethod
    def input_shapes(self, core: Core) -> dict[str, Shape]:
        """Of every input for a core."""

    @abstractmethod
    def check(self, inputs: Mapping[str, Array]) -> dict[str, Shape]:
        """The shapes of what a batch must give.

        Raises:
            ShapeMismatch: an input is missing, unknown, or of another shape or type.
        """


class ModelSignature(Signature):
    """A refinement: see `Contract`."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `Signature`."""
        return self.contract.graph_inputs()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The fine field."""
        return ("fine",)

    def input_shapes(self, core: Core) -> dict[str, Shape]:
        """See `Signature`."""
        return input_shapes(self.contract, core)

    def check(self, inputs: Mapping[str, Array]) -> dict[str, Shape]:
        """See `Signature`."""
        return {"fine": check_inputs(self.contract, inputs)}


class MeanSignature(ModelSignature):
    """What members are drawn around: see `Denoising`."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The mean, the unit around it, and what leads the denoiser."""
        return ("fine", "unit", "condition")

    def check(self, inputs: Mapping[str, Array]) -> dict[str, Shape]:
        """See `Signature`."""
        fine = check_inputs(self.contract, inputs)
        B, frames, C, height, width = fine
        return {"fine": fine, "unit": fine, "condition": (B, frames, channels_of(self.contract, C), height, width)}


class DenoiserSignature(Signature):
    """One step: see `Denoising`."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `Signature`."""
        return ("noisy", "condition", "sigma", *(("variable",) if self.contract.any_subset else ()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The field behind the noise."""
        return ("fine",)

    @property
    def halo(self) -> Halo:
        """Around the core; none where the denoiser sees the whole field."""
        assert self.contract.denoising is not None  # else there is no such graph
        halo = self.contract.denoising.halo
        return Halo.symmetric(0, 0) if isinstance(halo, str) else halo

    def input_shapes(self, core: Core) -> dict[str, Shape]:
        """See `Signature`."""
        B, T, C, H, W = core
        halo, s, r = self.halo, self.contract.scale_factor, self.contract.time_factor
        cells = (s * (H + halo.north + halo.south), s * (W + halo.west + halo.east))
        frames = r * (T + halo.before + halo.after)
        shapes: dict[str, Shape] = {
            "noisy": (B, frames, C, *cells),
            "condition": (B, frames, channels_of(self.contract, C), *cells),
            "sigma": (B,),
        }
        return shapes | ({"variable": (C,)} if self.contract.any_subset else {})

    def check(self, inputs: Mapping[str, Array]) -> dict[str, Shape]:
        """See `Signature`."""
        if set(inputs) != set(self.inputs):
            raise ShapeMismatch(
                f"the denoiser takes {', '.join(self.inputs)}; given were {', '.join(inputs) or 'none'}",
                self.contract.name,
                "give exactly these",
            )
        halo, s, r = self.halo, self.contract.scale_factor, self.contract.time_factor
        noisy = inputs["noisy"].shape
        margins = (r * (halo.before + halo.after), s * (halo.north + halo.south), s * (halo.west + halo.east))
        left = (*noisy[1:2], *noisy[3:5])
        fine = [size - margin for size, margin in zip(left, margins, strict=False)]
        factors = (r, s, s)
        if len(noisy) != 5 or min(fine) < 1 or any(size % factor for size, factor in zip(fine, factors, strict=True)):
            raise ShapeMismatch(
                f"noisy is {noisy}, which is no core of whole coarse frames and cells within a halo of {margins}",
                self.contract.name,
                "give (B, T, C, H, W) on fine frames and cells",
            )
        core: Core = (noisy[0], fine[0] // r, noisy[2], fine[1] // s, fine[2] // s)
        for name, shape in self.input_shapes(core).items():
            dtype = np.int64 if name == "variable" else np.float32
            if inputs[name].shape != shape or inputs[name].dtype != dtype:
                raise ShapeMismatch(
                    f"input {name} is {inputs[name].shape} {inputs[name].dtype}, but must be {shape} {np.dtype(dtype)}",
                    self.contract.name,
                    f"noisy is {noisy}",
                )
        return {"fine": (core[0], fine[0], core[2], fine[1], fine[2])}


def channels_of(contract: Contract, variables: int) -> int:
    """Channels of the condition for so many variables."""
    assert contract.denoising is not None  # else there is none
    return contract.denoising.condition * (variables if contract.any_subset else 1)


def signature_of(contract: Contract, role: str) -> Signature:
    """Of the graph that plays `role`."""
    return {MEAN: MeanSignature, DENOISER: DenoiserSignature}.get(role, ModelSignature)(contract)
