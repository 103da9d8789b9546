"""What a sampling is asked for: solver, its noise, and the noise levels; checked when it is made."""

import math
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

SamplerName = Literal["euler", "euler_ancestral", "heun", "dpm2", "dpm2_heun", "dpmpp_2m"]
ScheduleName = Literal["karras", "karras_sqrt", "exponential", "polyexponential", "vp", "ve", "subvp", "cosine"]
FormName = Literal["edm", "vp", "sqrt"]

CHURNING: Final = frozenset({"euler", "heun", "dpm2", "dpm2_heun"})  # they integrate in any form too
LARGEST_GAMMA: Final = math.sqrt(2.0) - 1.0  # of churn: no step may more than double the noise's variance


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScheduleConfig(_Frozen):
    """Noise levels."""

    type: ScheduleName = "karras"
    n: PositiveInt = 20  # levels before the 0 at the end
    rho: PositiveFloat = 7.0  # of karras, karras_sqrt and polyexponential
    sigma_min: PositiveFloat = 0.02  # of all but vp, subvp and cosine, which follow from the process
    sigma_max: PositiveFloat = 80.0

    @model_validator(mode="after")
    def _falls(self) -> "ScheduleConfig":
        if self.type == "cosine" and self.n > 1000:
            raise ValueError(f"the cosine process has 1000 steps, not {self.n}")
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self


class SamplerConfig(_Frozen):
    """The solver and the noise it adds on the way."""

    integrator: SamplerName = "dpm2_heun"  # the seed's name for dpm2, the midpoint rule
    form: FormName = "edm"  # in which variables the equation is integrated
    s_churn: NonNegativeFloat = 10.0  # noise put back, over all steps; 0: deterministic given the start
    s_noise: PositiveFloat = 1.005  # its size
    s_tmin: NonNegativeFloat = 0.04  # between these levels only
    s_tmax: PositiveFloat = 50.0
    eta: NonNegativeFloat = 1.0  # of euler_ancestral: share of a step's noise that is drawn anew
    # of a denoiser that was trained without its conditions at times: see `gfs_sr.sampling.guidance`
    guidance: NonNegativeFloat = 1.0

    @model_validator(mode="after")
    def _fits(self) -> "SamplerConfig":
        if self.s_churn and self.integrator not in CHURNING:
            raise ValueError(
                f"{self.integrator} takes no churn: give s_churn 0, or one of {', '.join(sorted(CHURNING))}"
            )
        if self.form != "edm" and self.integrator not in CHURNING:
            raise ValueError(f"{self.integrator} integrates in the form edm only, not in {self.form}")
        return self

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # earlier versions open artifacts that need nothing new of them
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name != "guidance" or value != 1.0}


class SamplingConfig(_Frozen):
    """A sampling: what an artifact recommends, and what a run may change."""

    sampler: SamplerConfig = SamplerConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @property
    def evaluations(self) -> int:
        """How often the denoiser is asked (NFE)."""
        n, sides = self.schedule.n, 1 if self.sampler.guidance in (0.0, 1.0) else 2
        return sides * (2 * n - 1 if self.sampler.integrator in ("heun", "dpm2", "dpm2_heun") else n)

    def changed(self, sampler: dict[str, Any], schedule: dict[str, Any]) -> "SamplingConfig":
        """The same with some settings replaced; churn goes where another solver takes none.

        Raises:
            ValueError: an unknown key, or a value that cannot be.
        """
        settings = self.sampler.model_dump() | sampler
        if settings["integrator"] not in CHURNING and "s_churn" not in sampler:
            settings["s_churn"] = 0.0
        if settings["integrator"] not in CHURNING and "form" not in sampler:
            settings["form"] = "edm"
        return SamplingConfig(
            sampler=SamplerConfig(**settings), schedule=ScheduleConfig(**(self.schedule.model_dump() | schedule))
        )
