"""Networks: `build` makes one from its configuration, `families` lists them all."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from gfs_sr.contract import Halo
from gfs_sr.data.grid import Registration
from gfs_sr.errors import UsageError
from gfs_sr.models.baseline import InterpolationModel
from gfs_sr.models.dl4ds import MEMBERS, Dl4ds, Dl4dsConfig
from gfs_sr.models.edm import Edm, EdmConfig, Vp, VpConfig
from gfs_sr.models.factorized import Factorized, FactorizedConfig
from gfs_sr.models.fused import Fused, FusedConfig
from gfs_sr.models.geodiff import Geodiff, GeodiffConfig
from gfs_sr.models.geodiff_members import GeodiffMembers, GeodiffMembersConfig
from gfs_sr.models.model import SURFACE, Model, ModelConfig
from gfs_sr.models.rife import Rife, RifeConfig
from gfs_sr.models.temdeep import Temdeep, TemdeepConfig
from gfs_sr.models.temdeep_narrow import TemdeepNarrow, TemdeepNarrowConfig
from gfs_sr.models.unet import Unet, UnetConfig
from gfs_sr.models.unet_gan import Gan, GanConfig

Training = Literal["supervised", "adversarial", "diffusion", "self-supervised", "physics-informed"]


@dataclass(frozen=True)
class Family:
    """One family: its class and what its configuration may hold."""

    model: type[Model]
    config: type[ModelConfig]


@dataclass(frozen=True)
class Variant:
    """One line of `gfs-sr models`."""

    name: str
    family: str
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    default: bool = False
    training: Training = "supervised"


@dataclass(frozen=True)
class VariantFacts:
    """What is known of a variant without training it."""

    name: str
    family: str
    default: bool
    training: Training
    stochastic: bool
    parameters: int
    flops_per_fine_cell: float  # five variables, unfolded, halo excluded, per fine cell and frame; 2 per multiply-add
    receptive_field: Halo | Literal["global"]
    step_field: Halo | Literal["global"] | None  # of one step of a denoiser, beside what leads it; None has none


FAMILIES: dict[str, Family] = {
    "interpolation": Family(InterpolationModel, ModelConfig),
    "fused": Family(Fused, FusedConfig),
    "factorized": Family(Factorized, FactorizedConfig),
    "dl4ds": Family(Dl4ds, Dl4dsConfig),
    "unet": Family(Unet, UnetConfig),
    "gan": Family(Gan, GanConfig),
    "temdeep": Family(Temdeep, TemdeepConfig),
    "temdeep_narrow": Family(TemdeepNarrow, TemdeepNarrowConfig),
    "rife": Family(Rife, RifeConfig),
    "edm": Family(Edm, EdmConfig),
    "vp": Family(Vp, VpConfig),
    "geodiff": Family(Geodiff, GeodiffConfig),
    "geodiff_members": Family(GeodiffMembers, GeodiffMembersConfig),
}

TEMDEEP_VARIANTS: dict[str, dict[str, Any]] = {
    "temdeep": {},
    "temdeep-no-flow": {"flow": False},
    "temdeep-no-correction": {"correction": False},
    "temdeep-no-terrain": {"terrain": False},
    "temdeep-hard-occlusion": {"occlusion": "hard"},
    "temdeep-fixed": {"fractions": tuple(m / 6 for m in range(6))},
}

# the seed's task: daily precipitation from the large scale, on fine cells throughout
LARGE_SCALE: Final[dict[str, Any]] = {
    "variables": ("tp",),
    "scale_factor": 1,
    "registration": "cell",
    "space": "nearest",  # on coarse fields, before
    "own_coarse": False,
    "baseline_residual": False,
    "predictor_variables": (
        "t@200", "t@500", "t@700", "t@850", "q@200", "q@500", "q@700", "q@850", "vo@500", "vo@700", "vo@850",
        "r2", "sp",
    ),
    "statics": ("orog",),
}  # fmt: skip
SMALL: Final[dict[str, Any]] = {
    "width": 32, "multipliers": (1, 2), "blocks": 1, "patch_size": 3, "factors": (2,), "dropout": 0.0,
    "attention": "none", "normalization": "cell",
}  # fmt: skip
COLUMN: Final[dict[str, Any]] = {"width": 16, "multipliers": (1, 2), "head_width": 16, "stem": 3}

VARIANTS = (
    Variant("interpolation", "interpolation"),
    Variant("interpolation-sharpened", "interpolation", {"sharpening": 0.125}),
    Variant("fused", "fused", default=True),
    Variant("fused-cell", "fused", {"registration": "cell", "sharpening": 0.08}),
    Variant("fused-3h", "fused", {"time_factor": 3, "interval_hours": 3.0}),
    Variant("fused-space", "fused", {"time_factor": 1}),
    *(Variant(name, "temdeep", config, training="self-supervised") for name, config in TEMDEEP_VARIANTS.items()),
    *(
        Variant(name.replace("temdeep", "temdeep-narrow"), "temdeep_narrow", config, training="self-supervised")
        for name, config in TEMDEEP_VARIANTS.items()
    ),
    Variant("rife", "rife"),
    Variant("factorized", "factorized"),
    Variant("factorized-seed", "factorized", {"baseline_residual": False, "padding": "zero"}),
    Variant("unet", "unet", {"variables": SURFACE, **SMALL}),
    Variant("unet-seed", "unet", LARGE_SCALE),
    Variant("gan", "gan", {"variables": SURFACE, "latent": "cells", **SMALL}, training="adversarial"),
    Variant("gan-seed", "gan", LARGE_SCALE, training="adversarial"),
    Variant("edm", "edm", {"variables": SURFACE, "shared": True, **SMALL}, training="diffusion"),
    Variant("edm-seed", "edm", LARGE_SCALE, training="diffusion"),
    Variant("vp", "vp", {"variables": SURFACE, "shared": True, **SMALL}, training="diffusion"),
    Variant("vp-seed", "vp", LARGE_SCALE, training="diffusion"),
    Variant("geodiff", "geodiff", {**COLUMN, "heads": 2}, training="physics-informed"),
    Variant("geodiff-no-prior", "geodiff", {**COLUMN, "heads": 2, "prior": False}, training="physics-informed"),
    Variant("geodiff-no-omega", "geodiff", {**COLUMN, "heads": 2, "omega": "none"}, training="physics-informed"),
    Variant("geodiff-time", "geodiff", {**COLUMN, "heads": 2, "depth": "time"}, training="physics-informed"),
    Variant("geodiff-seed", "geodiff", training="physics-informed"),
    Variant("geodiff-members", "geodiff_members", {**COLUMN, "attention_heads": 2}, training="diffusion"),
    Variant("geodiff-members-seed", "geodiff_members", training="diffusion"),
    *(Variant(member.name, "dl4ds", member.config) for member in MEMBERS),
    *(Variant(f"{member.name}-cgan", "dl4ds", member.config, training="adversarial") for member in MEMBERS),
)


def build(config: Mapping[str, Any]) -> Model:
    """The network of `config`, as stored in checkpoints and manifests: `family` and its family's own keys.

    Raises:
        UsageError: an unknown family or key, or a value that cannot be.
    """
    settings = dict(config)
    name = settings.pop("family", None)
    if name not in FAMILIES:
        raise UsageError(f"unknown model family {name!r}", "model configuration", f"use one of: {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    known = [each.name for each in fields(family.config)]
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"unknown key {key!r}", f"model configuration of {name}", f"{meant}use: {', '.join(known)}"
            )
    for key, value in settings.items():
        if isinstance(value, list):
            settings[key] = tuple(value)
    try:
        if "registration" in settings:
            settings["registration"] = Registration(settings["registration"])
        return family.model.from_config(settings)
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(str(error), f"model configuration of {name}", "mend the value") from error


def families() -> tuple[VariantFacts, ...]:
    """Every variant, built and counted."""
    counted: list[VariantFacts] = []
    known: dict[str, VariantFacts] = {}  # by configuration: how it is trained changes no count
    for variant in VARIANTS:
        key = f"{variant.family} {dict(variant.config)}"
        if key not in known:
            known[key] = _facts(variant)
        naming: dict[str, Any] = {"name": variant.name, "default": variant.default, "training": variant.training}
        counted.append(replace(known[key], **naming))
    return tuple(counted)


def _facts(variant: Variant) -> VariantFacts:
    model = build({"family": variant.family, **variant.config})
    return VariantFacts(
        name=variant.name,
        family=variant.family,
        default=variant.default,
        training=variant.training,
        stochastic=model.stochastic,
        parameters=model.parameters_count,
        flops_per_fine_cell=model.flops_per_fine_cell,
        receptive_field=model.halo,
        step_field=None if model.denoising is None else model.denoising.halo,
    )
