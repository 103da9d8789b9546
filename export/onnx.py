"""`python -m export.onnx --ckpt C.ckpt`: publish a checkpoint as an artifact that needs no torch."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from export.command import finish
from export.graph import OPSET
from export.offer import offer
from export.publication import default_target, publish
from gfs_sr.models.checkpoint import load_checkpoint

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class PrecisionName(StrEnum):
    """Of the residual branch; the interpolation is always fp32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"  # of its wide convolutions


@app.command()
def onnx(
    ckpt: Annotated[Path, typer.Option(help="Checkpoint that `gfs-sr train` left.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Artifact folder; default: the checkpoint's path without .ckpt."),
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="Of the residual branch; the interpolation stays fp32.")
    ] = PrecisionName.FP32,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = OPSET,
    name: Annotated[str | None, typer.Option(help="Of the artifact; default: the checkpoint's.")] = None,
    time_factor: Annotated[
        int | None, typer.Option(help="Fine frames per coarse frame, where the weights serve any; default: trained.")
    ] = None,
    skill: Annotated[
        list[Path] | None, typer.Option(help="metrics.json of gfs-sr evaluate: the skill that the manifest states.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Export a checkpoint to an artifact: manifest, weights, ONNX graph.

    Nothing is published unless PyTorch and ONNX Runtime agree, per variable in physical units, on the checkpoint's
    own validation sample at three shapes.
    """
    target = output if output is not None else default_target(ckpt)

    def run() -> dict[str, object]:
        checkpoint = load_checkpoint(ckpt)
        if name is not None or time_factor is not None or skill:
            checkpoint = offer(checkpoint, name, time_factor, skill or ())
        return publish(checkpoint, target, precision=precision.value, opset=opset, where=str(ckpt)).facts()

    code = finish(run, as_json=as_json)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
