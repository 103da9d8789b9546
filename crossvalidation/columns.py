"""`python -m crossvalidation.columns`: errors of columns of temperature, and what the prior and each loss are worth.

Whole frames of the sources that are named are refined, by interpolations and by every checkpoint. With `--steps` the
variants of a configuration are trained first, each for as many steps and with as many parameters as the others.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from crossvalidation.command import tabled, write_csv
from gfs_sr.contract import Contract
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.errors import UsageError
from gfs_sr.metrics.ensemble import crps
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.models.column_physics import on_levels, stability
from gfs_sr.models.geodiff import Geodiff, Prior
from gfs_sr.models.geodiff_members import GeodiffMembers
from gfs_sr.models.interpolation import Interpolation, pad_edges
from gfs_sr.models.receptive_field import Reach
from gfs_sr.sampling import sample
from gfs_sr.training import main as training
from gfs_sr.training.field_set import SourceConfig
from gfs_sr.training.fields import Fields
from gfs_sr.training.open_source import open_source
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.supervised import NOT_INPUTS
from gfs_sr.training.windows import generator

ALL: Final = "all levels"
BASELINE: Final = "bicubic"
INTERPOLATIONS: Final = {"bilinear": ("bilinear", 0.0), BASELINE: ("bicubic", 0.0), "sharpened": ("bicubic", 0.08)}
VARIANTS: Final = {
    "full": {},
    "without prior": {"network.prior": "false"},
    "without stability": {"physics.stability": "0"},
    "without gradient": {"physics.gradient": "0"},
    "without coupling": {"physics.coupling": "0"},
    "stability alone": {"physics.gradient": "0", "physics.coupling": "0"},
    "gradient alone": {"physics.stability": "0", "physics.coupling": "0"},
    "coupling alone": {"physics.stability": "0", "physics.gradient": "0"},
    "without physics loss": {"physics.weight": "0"},
}
NOT_TRAINED: Final = -1


@dataclass(frozen=True)
class ColumnLine:
    """One method on one level of one source."""

    source: str
    variable: str
    method: str
    seed: int  # of the training; -1 of what was not trained here
    frames: int
    rmse: float  # K; of the mean of the members, where there are several
    mae: float  # K
    ratio: float  # rmse to that of bicubic interpolation
    unstable: float  # share of the cells in which the column overturns
    unstable_truth: float
    gradient: float  # root mean square error of differences between neighbours, K
    coupling: float  # the same of dT/dp, to the true differences
    crps: float  # K; the mean error where there is one member
    spread: float  # of the members to the error of their mean; 0 of one


@dataclass
class _Sums:
    """Added up over frames, by level; the last place is that of all levels."""

    frames: int = 0
    cells: float = 0.0
    squares: Tensor | float = 0.0
    errors: Tensor | float = 0.0
    unstable: Tensor | float = 0.0
    unstable_truth: Tensor | float = 0.0
    gradient: Tensor | float = 0.0
    coupling: Tensor | float = 0.0
    coupling_truth: Tensor | float = 0.0
    crps: Tensor | float = 0.0
    variance: Tensor | float = 0.0


class Scorer:
    """Refines whole frames, and compares them with the truth in kelvin.

    Args:
        model: says levels, factors and units.
    """

    def __init__(self, model: Geodiff) -> None:
        self.levels, self.physics = model.settings.variables, Prior(model.settings)
        self.scale_factor, self.registration = model.settings.scale_factor, model.settings.registration
        self.task = Task.of(model.make_contract(name="x"), Reach())

    def samples(self, source: Fields) -> Iterator[dict[str, Tensor]]:
        """Every frame as one sample, as large as whole coarse cells fill it."""
        s, (frames, rows, columns) = self.scale_factor, source.shape
        stream = StreamConfig(kind="space", patch=rows // s, patch_columns=columns // s)
        for frame in range(frames):
            drawn = Sampler([source.part(range(frame, frame + 1))], self.task, stream)
            if not drawn.sets:
                raise UsageError(f"{source.source} lacks levels, or cells", "--sources", "leave it out")
            found = drawn.draw(generator(0, frame), augment=False)
            yield {name: torch.from_numpy(np.ascontiguousarray(each))[None] for name, each in found.items()}

    def lines(self, name: str, sets: Sequence[Fields], methods: Mapping[str, "Method"]) -> list[ColumnLine]:
        """Of one source."""
        sums = {method: _Sums() for method in methods}
        for source in sets:
            for part in self.samples(source):
                for method, refine in methods.items():
                    with torch.no_grad():
                        self._add(sums[method], refine(part), part)
        base = _root(sums[BASELINE].squares, sums[BASELINE].cells)
        return [
            line
            for method, total in sums.items()
            for line in self._lines(name, method, total, base)
        ]  # fmt: skip

    def _add(self, sums: _Sums, members: Tensor, part: Mapping[str, Tensor]) -> None:
        """(M, 1, 1, D, H, W) in model units."""
        kelvin = self.physics.temperature
        drawn, truth = kelvin(members).double(), kelvin(part["fine"]).double()
        mean = drawn.mean(dim=0)
        error = mean - truth
        sums.frames += 1
        sums.cells += float(error[0, 0, 0].numel())
        sums.squares += _by_level(error.square())
        sums.errors += _by_level(error.abs())
        slopes, pressure = self.physics.slopes.double(), self.physics.pressure.double()
        # a mean of members is smoother than any of them: they are looked at one by one
        overturns = [(stability(each, slopes, pressure) < 0).double() for each in drawn]
        sums.unstable += sum(_by_level(each) for each in overturns) / len(drawn)
        sums.unstable_truth += _by_level((stability(truth, slopes, pressure) < 0).double())
        sums.gradient += sum(_by_level(each) for each in _steps(error))
        sums.coupling += sum(_by_level(each) for each in _steps(on_levels(slopes, error)))
        sums.coupling_truth += sum(_by_level(each) for each in _steps(on_levels(slopes, truth)))
        if len(drawn) > 1:
            score = torch.from_numpy(crps(drawn.numpy(), truth.numpy()))
            sums.crps += _by_level(score)
            sums.variance += _by_level(drawn.var(dim=0))
        else:
            sums.crps += _by_level(error.abs())
            sums.variance += _by_level(torch.zeros_like(error))

    def _lines(self, source: str, method: str, sums: _Sums, base: Tensor) -> Iterator[ColumnLine]:
        rmse = _root(sums.squares, sums.cells)
        for k, variable in enumerate((*self.levels, ALL)):
            at = partial(_at, k=k, cells=sums.cells)
            yield ColumnLine(
                source=source, variable=variable, method=method, seed=NOT_TRAINED, frames=sums.frames,
                rmse=_rounded(rmse[k]), mae=_rounded(at(sums.errors)), ratio=_rounded(rmse[k] / base[k]),
                unstable=_rounded(at(sums.unstable)), unstable_truth=_rounded(at(sums.unstable_truth)),
                gradient=_rounded(at(sums.gradient) ** 0.5),
                coupling=_rounded((at(sums.coupling) / max(at(sums.coupling_truth), 1e-30)) ** 0.5),
                crps=_rounded(at(sums.crps)), spread=_rounded(at(sums.variance) ** 0.5 / max(float(rmse[k]), 1e-30)),
            )  # fmt: skip


class Method:
    """Refines one sample: (M, 1, 1, D, s·H, s·W) in model units."""

    def __call__(self, part: Mapping[str, Tensor]) -> Tensor:
        """Of inputs as the network takes them."""
        raise NotImplementedError


class Interpolated(Method):
    """By a registered interpolation."""

    def __init__(self, name: str, scorer: Scorer) -> None:
        kernel, amount = INTERPOLATIONS[name]
        self.levels = len(scorer.levels)
        self.layer = Interpolation(scorer.scale_factor, 1, scorer.registration, kernel, "linear", amount)

    def __call__(self, part: Mapping[str, Tensor]) -> Tensor:
        """See `Method`."""
        coarse = part["coarse"][:, :, : self.levels]
        fine: Tensor = self.layer(pad_edges(coarse, self.layer.reach))
        return fine[None]


class Refined(Method):
    """By a network, and members of it where it draws them."""

    def __init__(self, model: Geodiff | GeodiffMembers, members: int) -> None:
        self.model, self.members = model.eval(), members

    def __call__(self, part: Mapping[str, Tensor]) -> Tensor:
        """See `Method`."""
        inputs = {name: each for name, each in part.items() if name not in NOT_INPUTS}
        if isinstance(self.model, Geodiff):
            guides = (inputs["coarse"], inputs.get("predictor_coarse"), inputs.get("static_fine"))
            fine: Tensor = self.model(*guides)
            return fine[None]
        drawing, drawn = self.model, []
        made, settings = drawing.conditions(**inputs), drawing.settings
        for member in range(self.members):
            rng = torch.Generator().manual_seed(member)
            z = sample(
                lambda x, sigma: drawing.denoise(x, made.fields, x.new_full((1,), sigma)),
                lambda _: torch.randn(made.mean.shape, generator=rng),  # noqa: B023 - used at once
                settings.sampling, settings.vp,
            )  # fmt: skip
            drawn.append(made.mean + made.unit * z)
        return torch.stack(drawn)


def compare(
    sources: Mapping[str, Sequence[Fields]], models: Mapping[str, Geodiff | GeodiffMembers], members: int = 8
) -> list[ColumnLine]:
    """Every model and the interpolations on every source.

    Args:
        sources: by name, of the same levels.
        models: by the name of the method.
        members: that are drawn of those that draw any.
    """
    first = next(iter(models.values()))
    column = first if isinstance(first, Geodiff) else first.conditions.mean
    scorer = Scorer(column)
    methods: dict[str, Method] = {name: Interpolated(name, scorer) for name in INTERPOLATIONS}
    methods |= {name: Refined(model, members) for name, model in models.items()}
    # the network that needs most is asked for samples that all can read
    widest = max((each for each in models.values()), key=lambda each: len(each.inputs))
    scorer.task = Task.of(_contract(widest), Reach())
    return [line for name, sets in sources.items() for line in scorer.lines(name, sets, methods)]


def trained(
    configs: Sequence[Path], folder: Path | None, steps: int, scratch: Path, variants: Sequence[str], seed: int
) -> dict[str, Geodiff]:
    """Variants of a configuration, each after so many steps; one that is trained already is not trained again."""
    found = {}
    place = scratch / f"seed-{seed}"
    for name in variants:
        given = configured(configs, folder)
        given += [f"--model.{key}={value}" for key, value in VARIANTS[name].items()]
        given += [f"--trainer.max_steps={steps}", f"--output={place / name.replace(' ', '-')}"]
        given += [f"--seed_everything={seed}", f"--data.seed={seed}"]
        command = training.parse(given)
        done = command.folder / f"{command.model.offered_as}.ckpt"
        model = load_checkpoint(done if done.is_file() else training.run(command)).model()
        assert isinstance(model, Geodiff)  # the variants are its own
        found[name] = model
    return found


def table(lines: Sequence[ColumnLine]) -> str:
    """Markdown: RMSE of every method by source and level, and on all levels beside it what else is scored.

    Means over seeds; of ratios their standard deviation over seeds too.
    """
    methods = [*dict.fromkeys(line.method for line in lines)]

    def shown(source: str, variable: str, value: str, digits: int) -> str:
        cells = []
        for method in methods:
            wanted = (source, variable, method)
            found = [getattr(line, value) for line in lines if (line.source, line.variable, line.method) == wanted]
            spread = f" ± {np.std(found, ddof=1):.{digits}f}" if value == "ratio" and len(found) > 1 else ""
            cells.append(f"{np.mean(found):.{digits}f}{spread}")
        return " | ".join(cells)

    rows = [f"| source | level | {' | '.join(methods)} |", f"|{' --- |' * (2 + len(methods))}"]
    for source, variable in dict.fromkeys((line.source, line.variable) for line in lines):
        rows.append(f"| {source} | {variable} | {shown(source, variable, 'rmse', 3)} |")
    rows += ["", f"| {ALL}, by source | {' | '.join(methods)} |", f"|{' --- |' * (1 + len(methods))}"]
    for source in dict.fromkeys(line.source for line in lines):
        for name in ("ratio", "mae", "crps", "spread", "gradient", "coupling", "unstable", "unstable_truth"):
            rows.append(f"| {source}: {name.replace('_', ', ')} | {shown(source, ALL, name, 4)} |")
    return "\n".join(rows) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m crossvalidation.columns", description=__doc__)
    parser.add_argument("-c", "--config", type=Path, action="append", required=True, help="as gfs-sr train takes them")
    parser.add_argument("--folder", type=Path, default=None, help="of the data; default the configuration's")
    parser.add_argument("--sources", nargs="+", required=True, help="of the configuration, or NAME=FILE")
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="NAME=CKPT", help="that are scored")
    parser.add_argument("--steps", type=int, default=0, help="train the variants for so many; 0: none")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each variant is trained once with each")
    parser.add_argument("--members", type=int, default=8, help="of a checkpoint that draws them")
    parser.add_argument("--scratch", type=Path, default=Path("runs/columns"), help="folder of the runs")
    parser.add_argument("--figures", type=Path, default=None, help="folder of pictures; default: none are drawn")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV; its table is written beside it, .md")
    asked = parser.parse_args(argv)

    def score() -> str:
        models: dict[str, Geodiff | GeodiffMembers] = {}
        for text in asked.checkpoints:
            name, _, path = text.partition("=")
            model = load_checkpoint(Path(path)).model()
            if not isinstance(model, Geodiff | GeodiffMembers):
                raise UsageError(f"{path} is no geodiff", "--checkpoints", "give one of its family")
            models[name] = model
        if not models and not asked.steps:
            raise UsageError("nothing to score", "--checkpoints, --steps", "give either")
        sources = read_sources(asked.config, asked.folder, asked.sources)
        lines = compare(sources, models, asked.members) if models else []
        for seed in asked.seeds if asked.steps else []:
            own = trained(asked.config, asked.folder, asked.steps, asked.scratch, asked.variants, seed)
            known = {line.method for line in lines if line.seed == NOT_TRAINED}
            found = compare(sources, own, asked.members)
            lines += [
                replace(line, seed=seed if line.method in own else NOT_TRAINED)
                for line in found
                if line.method not in known
            ]
        write_csv(ColumnLine, lines, asked.output)
        if asked.figures is not None:
            from crossvalidation.column_pictures import draw  # pulls in the plotting

            draw(lines, asked.figures)
        return table(lines)

    return tabled(score, asked.output)


def configured(configs: Sequence[Path], folder: Path | None) -> list[str]:
    """What `gfs-sr train` is given of configurations and the folder of the data."""
    given = [part for path in configs for part in ("-c", str(path))]
    return given if folder is None else [*given, f"--data.folder={folder}"]


def read_sources(configs: Sequence[Path], folder: Path | None, wanted: Sequence[str]) -> dict[str, list[Fields]]:
    """By name: of the configuration's data, or of a file of its own."""
    given = configured(configs, folder)
    # what is left out of training is what there is to score
    data = training.parse([*given, "--data.leave_out=[]", "--output=."]).datamodule
    known: dict[str, list[Fields]] = {}
    if any("=" not in text for text in wanted):
        for each in data.read():
            known.setdefault(each.source, []).append(each)
    found: dict[str, list[Fields]] = {}
    for text in wanted:
        name, equals, path = text.partition("=")
        if not equals and name not in known:
            raise UsageError(f"no source {name!r}", "--sources", f"use: {', '.join(sorted(known))}, or NAME=FILE")
        source = SourceConfig(name=name, files=[path])
        found[name] = open_source(source, data.folder, ChunkCache(1 << 28)) if equals else known[name]
    return found


def _contract(model: Geodiff | GeodiffMembers) -> Contract:
    return model.make_contract(name="x")


def _by_level(values: Tensor) -> Tensor:
    """(D + 1,) sums over (1, 1, D, H, W) by level, and their mean over the levels."""
    each = values.sum(dim=(0, 1, 3, 4))
    return torch.cat([each, each.mean(dim=0, keepdim=True)])


def _steps(field: Tensor) -> list[Tensor]:
    """Squares of the differences between neighbours along both axes."""
    return [field.diff(dim=dim).square() for dim in (-1, -2)]


def _root(squares: Tensor | float, cells: float) -> Tensor:
    return (torch.as_tensor(squares) / cells).sqrt()


def _at(sums: Tensor | float, k: int, cells: float) -> float:
    return float(torch.as_tensor(sums)[k]) / cells


def _rounded(value: Tensor | float) -> float:
    return float(f"{float(value):.5g}")


if __name__ == "__main__":
    sys.exit(main())
