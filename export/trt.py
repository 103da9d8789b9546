"""`python -m export.trt --ckpt C.ckpt`: an artifact made for TensorRT, with its engine where one can be built."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import onnx
import typer

from export.command import finish
from export.engine import build_engine, write_engine
from export.engine_parity import engine_parity, member_engine_parity
from export.graph import OPSET
from export.members import ROLES
from export.onnx import PrecisionName
from export.operators import table_source, tensorrt_objections
from export.plugins import write_plugin_graph
from export.profiles import DEFAULT_BATCH, DEFAULT_TILE, Profile, check_sizes, parse_batch, parse_tile, plan_profile
from export.publication import default_target, publish_checkpoint
from gfs_sr.contract import Contract
from gfs_sr.errors import BackendFailed
from gfs_sr.kernels.operators import NAMESPACE
from gfs_sr.models.checkpoint import load_checkpoint
from gfs_sr.runtime.artifact import MEAN, MODEL, PLUGINS, Artifact
from gfs_sr.runtime.backends.base import Precision

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

PROFILE = "profile.json"
OPERATORS = "operators.json"


def export_engine(
    ckpt: Path,
    target: Path,
    *,
    precision: Precision = "fp32",
    tile: tuple[int, int, int] = DEFAULT_TILE,
    batch: tuple[int, int, int] = DEFAULT_BATCH,
    timing_cache: Path | None = None,
    opset: int = OPSET,
    plugins: bool = False,
) -> dict[str, object]:
    """Publish the artifact with its graph in `precision` and its profile; then build the engine.

    With `plugins` the artifact has a second graph, in which our kernels are nodes, and the engine is built of it. A
    model that draws members has two graphs, and a profile and an engine of each.

    The artifact stands, whole, even where the engine cannot be built.

    Raises:
        BackendNotInstalled: there is no TensorRT; the artifact was published all the same.
        BackendFailed: TensorRT would not take, or did not take, the graph.
        ParityFailed: ONNX Runtime strays from the network, and nothing was published; or the engine does from ONNX
            Runtime, and the artifact stands without it.
    """
    check_sizes(tile, batch)

    def prepare(draft: Path, contract: Contract) -> None:
        for role, profile in _profiles(contract, tile, batch).items():
            name = PROFILE if role == MODEL else f"{role}-{PROFILE}"
            (draft / name).write_text(profile.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if plugins:
            path = draft / "graphs" / f"{PLUGINS}.onnx"
            graphs = [write_plugin_graph(load_checkpoint(ckpt), contract, path, str(ckpt))]
        else:
            graphs = [onnx.load(draft / "graphs" / f"{role}.onnx") for role in _roles(contract)]
        objections = [each for graph in graphs for each in tensorrt_objections(graph, NAMESPACE if plugins else None)]
        if objections:
            reasons = "; ".join(f"{each.operator} ({each.node}): {each.reason}" for each in objections)
            raise BackendFailed(
                f"TensorRT would refuse the graph: {reasons}", str(ckpt), "use `python -m export.onnx` and ONNX Runtime"
            )
        operators = sorted({node.op_type for graph in graphs for node in graph.graph.node})
        report = {"checked_against": table_source(), "operators": operators}
        (draft / OPERATORS).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    exported = publish_checkpoint(ckpt, target, precision=precision, opset=opset, extra=prepare)
    artifact = exported.artifact
    profiles = _profiles(artifact.contract, tile, batch)
    if MODEL not in profiles:
        return exported.facts() | _member_engines(artifact, profiles, timing_cache)
    profile = profiles[MODEL]
    graph = artifact.graph(PLUGINS if plugins else MODEL)
    plan, device = build_engine(graph, profile, timing_cache, plugins=plugins)
    parity = engine_parity(artifact, profile, plan, device, plugins=plugins)
    engine = write_engine(artifact, plan, device, plugins=plugins)
    made = {"engine": str(engine), "gpu": device.gpu, "tensorrt": device.tensorrt}
    return exported.facts() | made | {"engine_parity": [line.model_dump() for line in parity]}


def _roles(contract: Contract) -> tuple[str, ...]:
    return (MODEL,) if contract.denoising is None else ROLES


def _profiles(contract: Contract, tile: tuple[int, int, int], batch: tuple[int, int, int]) -> dict[str, Profile]:
    return {role: plan_profile(contract, tile, batch, role) for role in _roles(contract)}


def _member_engines(
    artifact: Artifact, profiles: Mapping[str, Profile], timing_cache: Path | None
) -> dict[str, object]:
    built = {role: build_engine(artifact.graph(role), each, timing_cache) for role, each in profiles.items()}
    device = built[MEAN][1]
    plans = {role: plan for role, (plan, _) in built.items()}
    parity = member_engine_parity(artifact, profiles[MEAN], plans, device)
    engines = [str(write_engine(artifact, plan, device, role=role)) for role, plan in plans.items()]
    made = {"engines": engines, "gpu": device.gpu, "tensorrt": device.tensorrt}
    return made | {"engine_parity": [line.model_dump() for line in parity]}


@app.command()
def trt(
    ckpt: Annotated[Path, typer.Option(help="Checkpoint that `gfs-sr train` left.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Artifact folder; default: the checkpoint's path without .ckpt."),
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="Of the residual branch; the interpolation stays fp32.")
    ] = PrecisionName.FP32,
    tile: Annotated[str, typer.Option(help="Core of a tile in coarse cells: N, or frames,rows,columns.")] = ",".join(
        map(str, DEFAULT_TILE)
    ),
    batch: Annotated[str, typer.Option(help="Tiles per batch: smallest, most likely, largest.")] = ",".join(
        map(str, DEFAULT_BATCH)
    ),
    timing_cache: Annotated[
        Path | None, typer.Option(help="TensorRT's timings, read and written: the second build is faster.")
    ] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = OPSET,
    plugins: Annotated[
        bool, typer.Option("--plugins", help="Build our Triton kernels into the engine: fused, factorized; not int8.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Export a checkpoint for TensorRT: the graph in the engine's precision, its profile, the engine.

    Without TensorRT the artifact is published without an engine, and the command ends with exit code 5.
    """
    target = output if output is not None else default_target(ckpt)

    def work() -> dict[str, object]:
        return export_engine(
            ckpt,
            target,
            precision=precision.value,
            tile=parse_tile(tile),
            batch=parse_batch(batch),
            timing_cache=timing_cache,
            opset=opset,
            plugins=plugins,
        )

    raise typer.Exit(finish(work, as_json=as_json))


if __name__ == "__main__":
    app()
