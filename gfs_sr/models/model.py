"""What every family is: a network that knows its own contract."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from gfs_sr.contract import (
    Contract,
    Denoising,
    EngineMemory,
    FixedGrid,
    Halo,
    NoiseInput,
    Predictor,
    Quantiles,
    Scaling,
)
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.models.interpolation import Interpolation, pad_edges
from gfs_sr.models.receptive_field import Reach

SURFACE = ("t2m", "d2m", "r2", "u10", "v10", "wspd", "sp", "msl")
"""What models shared by all variables promise at least."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What every family's configuration holds; the whole of it is stored in checkpoint and artifact."""

    variables: tuple[str, ...] = SURFACE  # canonical names in channel order
    scale_factor: int = 6  # s
    time_factor: int = 6  # r
    registration: Registration = Registration.NODE
    space: Literal["nearest", "bilinear", "bicubic"] = "bicubic"  # of the base
    time: Literal["hold", "linear", "catmull_rom"] = "linear"  # of the base
    sharpening: float = 0.0  # of the base, before it; 0 is plain

    def __post_init__(self) -> None:
        for name in self.variables:
            row = lookup(name)
            if row.time_kind is TimeKind.STATIC:
                raise ValueError(f"{name} is {row.time_kind}: a forecast does not hold it")
            if row.time_kind is not TimeKind.INSTANT and self.time_factor > 1:
                raise ValueError(f"{name} is {row.time_kind}: frames of buckets cannot be interpolated")
        if not self.variables or len(set(self.variables)) != len(self.variables):
            raise ValueError(f"variables must be named once each, got {self.variables}")
        if min(self.scale_factor, self.time_factor) < 1:
            raise ValueError(f"factors start at 1, got s = {self.scale_factor}, r = {self.time_factor}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON and YAML keep; `build` takes them back."""
        return {name: _plain(value) for name, value in asdict(self).items()}


class Model(nn.Module, ABC):
    """A network: coarse with its halo in, fine out, both in model units.

    `forward(coarse, **others)` takes the inputs that `Contract.graph_inputs` names and gives
    (B, r·T, C, s·H, s·W) from (B, T + halo, C, H + halo, W + halo).
    """

    family: ClassVar[str]
    any_subset: bool = False  # variables are folded into the batch: any of them may be given alone
    predictors: tuple[Predictor, ...] = ()

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.facts = config
        self.base = Interpolation(
            config.scale_factor, config.time_factor, config.registration, config.space, config.time, config.sharpening
        )

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a plain configuration."""

    @property
    @abstractmethod
    def reach(self) -> Reach | Literal["global"]:
        """Coarse frames and cells that can move an output cell."""

    @property
    @abstractmethod
    def flops_per_fine_cell(self) -> float:
        """Per fine cell and frame for five variables together, unfolded, halo excluded; 2 per multiply-add."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Variables in the order of `coarse`; those that are given out come first."""
        return self.facts.variables

    @property
    def noise(self) -> tuple[NoiseInput, ...]:
        """Random numbers that it takes."""
        return ()

    @property
    def stochastic(self) -> bool:
        """Whether members of an ensemble differ."""
        return bool(self.noise)

    @property
    def memory(self) -> EngineMemory | None:
        """What engines need to run it, where its family does not tell."""
        return None

    @property
    def output_weight(self) -> Tensor | None:
        """Of the layer that what is learned leaves by: losses are balanced by their gradients there; None: no such."""
        return None

    @property
    def source_grid(self) -> FixedGrid | None:
        """The only coarse grid that it takes, where its weights are of single cells."""
        return None

    @property
    def denoising(self) -> Denoising | None:
        """How members are drawn, of families that sample."""
        return None

    @property
    def target_grid(self) -> FixedGrid | None:
        """The only fine grid that it gives, where its factors are no whole numbers."""
        return None

    @property
    def location_grid(self) -> tuple[int, ...]:
        """Rows and columns of the fine grid that its learned maps are of: samples say where on it they lie."""
        return ()

    @property
    def any_time(self) -> bool:
        """Whether fractions of the interval are an input."""
        return False

    @property
    def fractions(self) -> tuple[float, ...]:
        """Of the interval, where its frames are not evenly spaced."""
        return ()

    @property
    def context(self) -> Reach:
        """Frames and cells that training gives around a patch to a network that sees the whole field."""
        return Reach()

    @property
    def config(self) -> dict[str, Any]:
        """What `build` takes to make this network again."""
        return {"family": self.family, **self.facts.as_dict()}

    @property
    def halo(self) -> Halo | Literal["global"]:
        """The reach as the contract says it."""
        return self.reach.halo() if isinstance(self.reach, Reach) else "global"

    @property
    def parameters_count(self) -> int:
        """Learned numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def for_frames(self) -> "Model | None":
        """The network for frames on their own, with the same weights; None where it has none, or is that itself."""
        return None

    def graphs(self) -> Mapping[str, nn.Module]:
        """What an artifact holds of it, by the role each plays: see `gfs_sr.runtime.artifact`."""
        alone = self.for_frames()
        return {"model": self} | ({} if alone is None else {"frame": alone})

    def folded(self) -> nn.Module:
        """The same function in fewer operations; the network itself where nothing can be folded."""
        return self

    def learn(self, kind: str, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Prediction and baseline of one training batch.

        Args:
            kind: what the batch holds: `space_time` here; families that learn from less name more.
            inputs: as `forward` takes them, with the context that the training configuration gives.

        Returns:
            two tensors (B, T, C, H, W) of one shape.

        Raises:
            ValueError: a kind this family cannot learn from.
        """
        if kind != "space_time":
            raise ValueError(f"{self.family} learns from space_time batches, not from {kind}")
        fine: Tensor = self(**inputs)
        margin = self.reach if isinstance(self.reach, Reach) else Reach()
        coarse = inputs["coarse"]
        base = self.base.within(coarse, margin) if margin != Reach() else self.base(pad_edges(coarse, self.base.reach))
        return fine, base

    def make_contract(
        self,
        *,
        name: str,
        normalization: Mapping[str, Scaling] | None = None,
        envelope: Mapping[str, Quantiles] | None = None,
        interval_hours: tuple[float, ...] = (6.0,),
    ) -> Contract:
        """The promise of this network.

        Args:
            name: of the model on offer.
            normalization: model units per variable; the table's typical mean and spread where none is given.
            envelope: quantiles of the training data.
            interval_hours: coarse intervals seen in training.
        """
        facts = self.facts
        statics = (*self.statics_coarse, *self.statics_fine)
        units = {each: _typical(each) for each in (*facts.variables, *self.inputs)}
        # what a network is not told is 0, which is the sea
        units |= {each: Scaling(mean=0.0, sd=_typical(each).sd) for each in statics}
        units |= self.normalization() | dict(normalization or {})
        return Contract(
            family=self.family,
            name=name,
            inputs=self.inputs,
            outputs=facts.variables,
            any_subset=self.any_subset,
            scale_factor=facts.scale_factor,
            time_factor=facts.time_factor,
            any_time=self.any_time,
            fractions=self.fractions,
            registration=facts.registration,
            halo=self.halo,
            frames_apart=self.frames_apart,
            zero_padded=self.zero_padded,
            mirrored_ends=self.mirrored_ends,
            normalization=units,
            envelope=dict(envelope or {}),
            interval_hours=interval_hours,
            statics_coarse=self.statics_coarse,
            statics_fine=self.statics_fine,
            default_statics="terrain" if statics else None,
            predictors=self.predictors,
            stochastic=self.stochastic,
            noise=self.noise,
            denoising=self.denoising,
            source_grid=self.source_grid,
            memory=self.memory,
            target_grid=self.target_grid,
            base=f"{facts.space}/{facts.time}",
            sharpening=facts.sharpening,
        )

    def fitted_parameters(self) -> tuple[nn.Parameter, ...]:
        """Those that a closed form sets: training moves them slowly and does not decay them."""
        return ()

    def normalization(self) -> dict[str, Scaling]:
        """Model units that are part of the network; none where the training data decide."""
        return {}

    @property
    def statics_coarse(self) -> tuple[str, ...]:
        """Static fields taken on coarse cells."""
        return ()

    @property
    def statics_fine(self) -> tuple[str, ...]:
        """Static fields taken on fine cells."""
        return ()

    @property
    def mirrored_ends(self) -> bool:
        """Whether the halo beyond a region's ends is mirrored, odd about the end, not held."""
        return False

    @property
    def frames_apart(self) -> bool:
        """Of a network that sees the whole field: whether it sees that of one frame alone."""
        return False

    @property
    def zero_padded(self) -> bool:
        """Whether zeros at the border are part of the function."""
        return False


def _typical(name: str) -> Scaling:
    mean, sd = lookup(name).typical
    return Scaling(mean=mean, sd=sd)


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
