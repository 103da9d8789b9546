"""What a model promises to whoever runs it: the one thing training and runtime share."""

from enum import StrEnum
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from gfs_sr.data.grid import Registration
from gfs_sr.data.transforms import Transform
from gfs_sr.data.variables import lookup
from gfs_sr.sampling import SamplingConfig

FORMAT: Final = 1  # raised when a reader of today could misread an artifact of tomorrow


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Halo(_Frozen):
    """Coarse frames and cells on each side that can move an output cell: the receptive field."""

    before: NonNegativeInt  # frames
    after: NonNegativeInt  # frames; a stream waits for this many (look-ahead)
    north: NonNegativeInt
    south: NonNegativeInt
    west: NonNegativeInt
    east: NonNegativeInt

    @classmethod
    def symmetric(cls, frames: int, cells: int) -> "Halo":
        """The same reach on every side."""
        return cls(before=frames, after=frames, north=cells, south=cells, west=cells, east=cells)


class Scaling(_Frozen):
    """Model units of one variable: (g(x) - mean) / sd, in fp32; g is the transform, x itself by default."""

    mean: float
    sd: PositiveFloat
    transform: Transform = Transform.LINEAR

    @classmethod
    def of_units(cls, variable: str, units: str, *, mean: float, sd: float) -> "Scaling":
        """The scaling of canonical values whose mean and sd are stated in other units, such as degC.

        Raises:
            WrongUnits: `units` cannot be converted.
        """
        factor, offset = lookup(variable).to_canonical(units, f"scaling of {variable}")
        return cls(mean=factor * mean + offset, sd=factor * sd)

    def normalize(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Canonical units -> model units, float64; NaN stays NaN."""
        normalized: npt.NDArray[np.float64] = (self.transform.forward(values) - self.mean) / self.sd
        return normalized

    def denormalize(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Model units -> canonical units, float64, without bounds; NaN stays NaN."""
        return self.transform.inverse(np.asarray(values, np.float64) * self.sd + self.mean)

    def physical_step(self, values: npt.NDArray[Any], step: float) -> npt.NDArray[np.float64]:
        """How far `step` model units move each of `values`, in canonical units."""
        if self.transform is Transform.LINEAR:
            return np.full(np.shape(values), step * self.sd)
        bent = self.transform.forward(values)
        moved: npt.NDArray[np.float64] = self.transform.inverse(bent + step * self.sd) - self.transform.inverse(bent)
        return moved

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # a linear scaling reads as it always did: earlier versions open artifacts that need nothing new of them
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name != "transform" or value != Transform.LINEAR}


class Quantiles(_Frozen):
    """The training envelope of one variable, in its canonical units."""

    low: float  # 0.1 %
    median: float
    high: float  # 99.9 %


class PredictorGrid(StrEnum):
    """Which cells a computed predictor is given on, and at which times: its graph input is `predictor_<value>`."""

    COARSE = "coarse"  # coarse cells with halo, coarse frames with halo: (B, T + halo, P, H + halo, W + halo)
    COARSE_FINE_TIME = (
        "coarse_fine_time"  # coarse cells with halo, fine frames of the core: (B, r·T, P, H + halo, W + halo)
    )
    FINE = "fine"  # fine cells of the core, fine frames of the core: (B, r·T, P, s·H, s·W)


class Predictor(_Frozen):
    """A field the runtime computes from coordinates and valid time alone."""

    # cos_solar_zenith is the sum of solar_polar and solar_cos: see gfs_sr.data.solar.solar_components
    # season_<...> is 1 in the months of that season, else 0
    name: Literal[
        "cos_solar_zenith", "latitude", "longitude", "solar_polar", "solar_cos", "solar_sin",
        "season_djf", "season_mam", "season_jja", "season_son",
    ]  # fmt: skip
    grid: PredictorGrid


class NoiseGrid(StrEnum):
    """Which cells and frames random numbers are given for, those of the halo too."""

    COARSE = "coarse"  # coarse cells at coarse frames: (B, T + halo, N, H + halo, W + halo)
    FINE = "fine"  # fine ones, laid onto coarse cells as `static_fine`: (B, r·(T + halo), N·s², H + halo, W + halo)
    SHARED = "shared"  # one number for all cells of a fine frame: (B, r·(T + halo), N, 1, 1)


class NoiseDistribution(StrEnum):
    """Of random numbers."""

    NORMAL = "normal"  # mean 0, variance 1
    UNIFORM = "uniform"  # [0, 1), multiples of 2⁻²⁴


class NoiseInput(_Frozen):
    """Random numbers that the runtime draws for every member: the graph itself holds no random operator.

    They are a function of (seed, member, name, valid time, cell in microdegrees, channel), so that no tiling, batch,
    order or number of threads changes a member. A cell of the halo gets the numbers of the cell it stands for.
    """

    name: str  # the graph input is `noise_<name>`
    grid: NoiseGrid
    channels: PositiveInt
    distribution: NoiseDistribution

    @property
    def graph_input(self) -> str:
        """Its name in the graph."""
        return f"noise_{self.name}"


class EngineMemory(_Frozen):
    """What an engine keeps of intermediate fields, for all variables together: bytes per frame of the core."""

    per_fine_cell: float  # of the core
    per_coarse_cell: float  # of the tile with its halo


class Denoising(_Frozen):
    """How members are drawn: a sampler of the runtime asks a graph again and again for the field behind the noise.

    The graph `mean` takes what `Contract.graph_inputs` names and gives, on fine cells of the core,
        fine: (B, r·T, C, s·H, s·W) what members lie around, model units;
        unit: the same shape, model units per unit of z;
        condition: (B, r·T, K, s·H, s·W), K channels for all variables or, with `any_subset`, K for each of the C.
    A member is fine + unit · z. The graph `denoiser` takes, in this order, with `halo` around the core,
        noisy: (B, r·(T + halo), C, s·(H + halo), s·(W + halo)), z and noise of level sigma;
        condition: on the same cells;
        sigma: (B,);
        variable: (C,) int64, only where `any_subset`;
    and gives the z that it expects: fine, (B, r·T, C, s·H, s·W).
    """

    condition: PositiveInt  # K
    halo: Halo | Literal["global"]  # of one step; a sample of many steps is exact because every step is
    temporal: bool = False  # frames know each other: all of a forecast are drawn together
    bytes_per_cell: PositiveFloat  # that an engine keeps of intermediate fields, per fine cell and variable
    beta_d: PositiveFloat  # of the VP process, whose time some schedules and forms take
    beta_min: PositiveFloat
    sampling: SamplingConfig  # what is recommended
    guided: bool = False  # it was trained without its conditions at times, which were then 0: `guidance` has a meaning

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name != "guided" or value}


class FixedGrid(_Frozen):
    """Axes that a model is bound to, north to south and west to east."""

    lat: tuple[float, ...]
    lon: tuple[float, ...]


class Skill(_Frozen):
    """One line of the skill table: 1 - RMSE / RMSE of the best baseline, on data the model never saw."""

    data: str
    variable: str
    skill: float
    skill_sharpened: float  # against the best baseline after registered sharpening
    best_baseline: str
    interval: tuple[float, float] | None = None  # 95 %, of `skill`
    interval_sharpened: tuple[float, float] | None = None

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if value is not None}


class Parity(_Frozen):
    """Largest difference between two engines on real input, in the variable's own units."""

    variable: str
    units: str
    max_abs: float
    rmse: float
    tolerance: float


class Contract(_Frozen):
    """What a model promises. JSON in the artifact's manifest, read before any weight.

    Graph inputs, all fp32 unless said otherwise, in this order where they exist:
        coarse: (B, T + before + after, C, H + north + south, W + west + east), model units.
        variable: (C,) int64, ids of the table `gfs_sr.data.variables`; only where `any_subset`.
        predictor_<grid>: see `PredictorGrid`; P counts the predictors of that grid, in their order.
        static_coarse: (B, 1, K, H + halo, W + halo), model units.
        static_fine: (B, 1, K·s², H + halo, W + halo), model units: fine values laid onto their coarse cells in the
            order of `pixel_unshuffle`, so that one gather serves both.
        noise_<name>: see `NoiseGrid`.
        fraction: (B, T, M), of the interval from each frame of the core to the next; only where `any_time`. M is any
            number, and then takes the place of r.
        hours: (B,), length of the intervals; only where `any_time`.
    Output:
        fine: (B, r·T, C_out, s·H, s·W), model units.
    """

    family: str
    name: str
    inputs: tuple[str, ...]  # canonical variable names in channel order
    outputs: tuple[str, ...]
    any_subset: bool = False  # any selection of the variables may be given alone; C is dynamic
    scale_factor: PositiveInt
    time_factor: PositiveInt
    any_time: bool = False  # fields at any fraction of an interval: r is what is given where nothing is asked for
    fractions: tuple[float, ...] = ()  # of the interval, where the r frames of one are not evenly spaced
    target_grid: FixedGrid | None = None  # of models whose factors are no integers: fine cells of their own
    source_grid: FixedGrid | None = None  # of models with weights for every cell: the only coarse grid they take
    registration: Registration
    halo: Halo | Literal["global"]
    frames_apart: bool = False  # where the halo is global: no frame sees another, so that it is so in space alone
    zero_padded: bool = False  # the seed's network: zeros at the border are part of the function
    mirrored_ends: bool = False  # beyond a region's end e the halo is 2·x(e) - x(as far within), else x(e)
    normalization: dict[str, Scaling]
    envelope: dict[str, Quantiles] = {}
    interval_hours: tuple[float, ...]  # coarse intervals seen in training
    statics_coarse: tuple[str, ...] = ()
    statics_fine: tuple[str, ...] = ()
    default_statics: Literal["terrain"] | None = None  # where the user gives none: the bundled map of the earth
    predictors: tuple[Predictor, ...] = ()
    stochastic: bool = False
    noise: tuple[NoiseInput, ...] = ()
    denoising: Denoising | None = None  # `halo` above is then that of the graph `mean`
    memory: EngineMemory | None = None  # of families whose members differ; None: by family
    input_dtype: Literal["fp32"] = "fp32"
    # of the residual branch; the interpolation is always fp32
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    base: str  # the interpolation an untrained model equals, e.g. "bicubic/linear"
    sharpening: float = 0.0  # of the base; 0 is plain

    @model_validator(mode="after")
    def _names_are_known(self) -> "Contract":
        for name in (*self.inputs, *self.outputs, *self.statics_coarse, *self.statics_fine):
            lookup(name)
        missing = [name for name in (*self.inputs, *self.outputs) if name not in self.normalization]
        if missing:
            raise ValueError(f"no normalization for {', '.join(missing)}")
        for name, scaling in self.normalization.items():
            if scaling.transform is not Transform.LINEAR and lookup(name).bounds[0] < 0:
                raise ValueError(f"{name} has negative values, which {scaling.transform} cannot bring back")
        if self.any_subset and self.inputs != self.outputs:
            raise ValueError("a model for any subset of variables gives out what it is given")
        if self.fractions and (self.any_time or len(self.fractions) != self.time_factor):
            raise ValueError("fractions are r, of models that are bound to them")
        if (self.any_time or self.fractions) and self.scale_factor > 1:
            raise ValueError("frames between others are made by models that keep the cells")
        even = isinstance(self.halo, Halo) and (self.halo.north, self.halo.west) == (self.halo.south, self.halo.east)
        if self.frames_apart and self.halo != "global":
            raise ValueError("a halo that is not global says itself how many frames it reads")
        if self.mirrored_ends and not even:
            raise ValueError("ends are mirrored where the halo is as wide on either side")
        if (self.noise or self.denoising) and not self.stochastic:
            raise ValueError("a model that takes noise is stochastic")
        return self

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # as for scalings: what an artifact does not need is not in it
        fields: dict[str, Any] = handler(self)
        rare = ("noise", "source_grid", "memory", "any_time", "fractions", "denoising", "mirrored_ends", "frames_apart")
        return {name: value for name, value in fields.items() if name not in rare or value}

    def predictors_on(self, grid: PredictorGrid) -> tuple[Predictor, ...]:
        """Predictors given on `grid`, in channel order."""
        return tuple(predictor for predictor in self.predictors if predictor.grid is grid)

    def for_frames(self) -> "Contract":
        """The promise for frames on their own: one fine frame of each, and nothing that time would tell.

        An artifact keeps it by a second graph, `graphs/frame.onnx`, with the same weights.
        """
        halo = self.halo if isinstance(self.halo, str) else self.halo.model_copy(update={"before": 0, "after": 0})
        return self.model_copy(update={"time_factor": 1, "halo": halo, "predictors": (), "interval_hours": ()})

    def for_times(self, count: int) -> "Contract":
        """The promise of a model of any time for `count` fields per interval."""
        return self if count == self.time_factor else self.model_copy(update={"time_factor": count})

    @property
    def keeps_frames(self) -> bool:
        """Whether the frames of the input are frames of the output, as they are."""
        return self.scale_factor == 1 and (self.any_time or bool(self.fractions))

    def graph_inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs, in order."""
        names = ["coarse"]
        if self.any_subset:
            names.append("variable")
        names += [f"predictor_{grid}" for grid in PredictorGrid if self.predictors_on(grid)]
        if self.statics_coarse:
            names.append("static_coarse")
        if self.statics_fine:
            names.append("static_fine")
        names += [each.graph_input for each in self.noise]
        if self.any_time:
            names += ["fraction", "hours"]
        return tuple(names)


class FileEntry(_Frozen):
    """One file of the artifact."""

    sha256: str
    size: NonNegativeInt


class Manifest(_Frozen):
    """manifest.json: the contract, what was measured, and the digest of every other file but the engines."""

    format: Literal[1] = FORMAT
    contract: Contract
    config: dict[str, object]  # what models.build() takes to rebuild the network
    files: dict[str, FileEntry]  # relative path -> digest
    parameters: NonNegativeInt
    flops_per_fine_cell: float
    parity: tuple[Parity, ...] = ()  # ONNX Runtime against torch
    skill: tuple[Skill, ...] = ()
    provenance: dict[str, str] = {}  # training data, seed, versions, commit
