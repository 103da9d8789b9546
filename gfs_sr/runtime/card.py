"""The model card: what an artifact's manifest says, as a page a person reads before using the model."""

from collections.abc import Iterable, Mapping, Sequence

from gfs_sr.contract import Contract, Halo, Parity, Skill
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import lookup

CARD = "MODEL_CARD.md"
NOT_STATED = "not stated"
# keys of the provenance that have a line of their own
DATA_KEYS = ("trained on", "period", "validated on", "licences", "data digest")


def model_card(
    contract: Contract,
    *,
    parameters: int,
    flops_per_fine_cell: float,
    parity: Sequence[Parity],
    skill: Sequence[Skill],
    provenance: Mapping[str, str],
) -> str:
    """Markdown, from the facts of a manifest alone.

    Args:
        contract: what the model promises.
        parameters: of the network.
        flops_per_fine_cell: of one fine cell of one frame.
        parity: ONNX Runtime against torch.
        skill: on data the model never saw.
        provenance: where it comes from.
    """
    sections = (
        ("", _what(contract, parameters, flops_per_fine_cell)),
        ("How to run it", _use(contract)),
        ("Data", _data(provenance)),
        ("Protocol", _protocol(contract)),
        ("Skill", _skill(skill)),
        ("Training envelope", _envelope(contract)),
        ("Parity", _parity(contract, parity)),
        ("Limits", _limits(contract, skill)),
        ("Provenance", _rest(provenance)),
    )
    parts = [f"# {contract.name}"]
    for title, lines in sections:
        parts.append("\n".join([f"## {title}", "", *lines] if title else lines))
    return "\n\n".join(parts) + "\n"


def _what(contract: Contract, parameters: int, flops: float) -> list[str]:
    s, r = contract.scale_factor, contract.time_factor
    in_time = f" and {r} times in time" if r > 1 else ""
    variables = ", ".join(contract.outputs)
    subset = ", each alone or together" if contract.any_subset else ", all together"
    kind = "An ensemble model" if contract.stochastic else "A deterministic model"
    return [
        f"{kind} of the family `{contract.family}` that refines forecasts {s} times in space{in_time}: "
        f"{variables}{subset}.",
        "",
        f"{parameters:,} parameters, {flops:,.0f} floating-point operations per fine cell and frame; the residual "
        f"branch runs in {contract.precision}. {_origin(contract)}",
    ]


def _origin(contract: Contract) -> str:
    if contract.denoising is None:
        return f"Untrained it would equal {_base(contract)}."
    sampling = contract.denoising.sampling
    return f"A member is drawn by `{sampling.sampler.integrator}`: {sampling.evaluations} evaluations of the denoiser."


def _base(contract: Contract) -> str:
    sharpened = f", sharpened by {contract.sharpening:g}" if contract.sharpening else ""
    return f"{contract.base} interpolation{sharpened}"


def _use(contract: Contract) -> list[str]:
    needs = [*dict.fromkeys([*contract.statics_coarse, *contract.statics_fine])]
    statics = []
    if needs and contract.default_statics is not None:
        statics = ["", f"{' and '.join(needs)}: from the bundled map, or your own by `--statics FILE`."]
    elif needs:
        statics = ["", f"It needs {' and '.join(needs)}: `--statics FILE`."]
    members = " --members 16 --seed 1" if contract.stochastic else ""
    return [
        "```",
        f"gfs-sr upscale COARSE... -o FINE.nc --model THIS_FOLDER{members}",
        f"gfs-sr evaluate --model THIS_FOLDER --data FINE_TRUTH... -o report{members}",
        "gfs-sr verify THIS_FOLDER",
        "```",
        *statics,
    ]


def _data(provenance: Mapping[str, str]) -> list[str]:
    return [f"* {key}: {provenance.get(key, NOT_STATED)}" for key in DATA_KEYS]


def _protocol(contract: Contract) -> list[str]:
    if contract.registration is Registration.NODE:
        made = "coarse points lie on fine points (`node`)"
    else:
        made = "a coarse cell is the area-weighted mean of s by s fine cells (`cell`)"
    hours = " or ".join(f"{each:g}" for each in contract.interval_hours)
    interval = (
        f"* Interval between coarse frames in training, hours: {hours}. Another interval is flagged in the output."
        if hours
        else "* Coarse frames may come at any interval."
    )
    return [
        f"* Registration: {made}. Data of the other registration are refused.",
        interval,
        f"* Reach: {_reach(contract.halo)}.",
        *_steps(contract),
    ]


def _steps(contract: Contract) -> list[str]:
    if contract.denoising is None:
        return []
    together = "frames are drawn together" if contract.denoising.temporal else "frames are drawn one by one"
    return [f"* Reach of each step of the sampler: {_reach(contract.denoising.halo)}; {together}."]


def _reach(halo: Halo | str) -> str:
    if isinstance(halo, str):
        return "the whole field; it is never tiled"
    return (
        f"{halo.before} coarse frames before and {halo.after} after; {halo.north}, {halo.south}, {halo.west} and "
        f"{halo.east} coarse cells to the north, south, west and east"
    )


def _skill(skill: Sequence[Skill]) -> list[str]:
    if not skill:
        return ["Not measured: no report was given at export."]
    rows = [
        "1 − RMSE / RMSE of the best interpolation, plain and after sharpening, on data the model never saw; in "
        "brackets the 95 % interval where one was measured. Below 0 interpolation is better.",
    ]
    for data in dict.fromkeys(line.data for line in skill):
        rows += ["", f"{data}:", ""]
        rows += _table(
            ("variable", "skill", "against sharpened", "hardest interpolation"),
            (
                (
                    line.variable,
                    _percent(line.skill, line.interval),
                    _percent(line.skill_sharpened, line.interval_sharpened),
                    line.best_baseline,
                )
                for line in skill
                if line.data == data
            ),
        )
    return rows


def _envelope(contract: Contract) -> list[str]:
    if not contract.envelope:
        return [f"{NOT_STATED.capitalize()}: no input can be told to lie outside."]
    rows = _table(
        ("variable", "units", "0.1 %", "median", "99.9 %"),
        (
            (name, lookup(name).units, *(f"{value:.5g}" for value in (each.low, each.median, each.high)))
            for name, each in contract.envelope.items()
        ),
    )
    return ["Quantiles of the training data; what lies outside is flagged in the output.", "", *rows]


def _parity(contract: Contract, parity: Sequence[Parity]) -> list[str]:
    if not parity:
        return ["Not measured."]
    rows = _table(
        ("variable", "units", "largest difference", "RMS difference", "tolerance"),
        ((p.variable, p.units, f"{p.max_abs:.2g}", f"{p.rmse:.2g}", f"{p.tolerance:.2g}") for p in parity),
    )
    return [f"ONNX Runtime ({contract.precision}) against PyTorch (fp32), on the checkpoint's own sample.", "", *rows]


def _limits(contract: Contract, skill: Sequence[Skill]) -> list[str]:
    limits = [
        "* Fine structure is estimated, not forecast: what the coarse fields cannot know is likely, not true.",
        "* Errors of the coarse forecast stay: it was trained to refine fields, not to correct them, unless its data "
        "say otherwise.",
        f"* It refines exactly {contract.scale_factor} times in space and {contract.time_factor} in time.",
    ]
    if contract.zero_padded:
        limits.append("* Zeros beyond the border are part of the function: it runs on the whole field at once.")
    losses = [f"{line.variable} ({_percent(line.skill)}, {line.data})" for line in skill if line.skill < 0]
    if losses:
        limits.append(f"* Worse than plain interpolation: {'; '.join(losses)}.")
    filters = [
        f"{line.variable} ({_percent(line.skill_sharpened)}, {line.data})"
        for line in skill
        if line.skill >= 0 > line.skill_sharpened
    ]
    if filters:
        limits.append(f"* Worse than sharpened interpolation: {'; '.join(filters)}.")
    return limits


def _rest(provenance: Mapping[str, str]) -> list[str]:
    rest = [f"* {key}: {value}" for key, value in provenance.items() if key not in DATA_KEYS]
    return rest or [NOT_STATED.capitalize() + "."]


def _percent(value: float, interval: tuple[float, float] | None = None) -> str:
    text = f"{100 * value:+.1f} %"
    return text if interval is None else f"{text} [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
