"""`gfs-sr models`."""

from typing import Any

from gfs_sr.cli import options
from gfs_sr.cli.console import finish


def models(json_output: options.Json = False, debug: options.Debug = False) -> None:
    """List the families and the bundled models: parameters, FLOPs per fine cell, receptive field."""

    def work() -> list[dict[str, Any]]:
        from gfs_sr.runtime.catalog import bundled_models

        return [*bundled_models(), *_recipes()]

    finish(work, _show, json_output=json_output, debug=debug)


def _recipes() -> list[dict[str, Any]]:
    """What can be built and trained; needs torch, so it is empty in the plain install."""
    try:
        from gfs_sr.models import families
    except ImportError:
        return []
    from gfs_sr.runtime.upscaler import sides

    return [
        {
            "name": facts.name,
            "family": facts.family,
            "path": None,
            "default": facts.default,
            "training": facts.training,
            "stochastic": facts.stochastic,
            "parameters": facts.parameters,
            "flops_per_fine_cell": facts.flops_per_fine_cell,
            "receptive_field": sides(facts.receptive_field),
            "step_field": None if facts.step_field is None else sides(facts.step_field),
        }
        for facts in families()
    ]


def _show(rows: list[dict[str, Any]]) -> None:
    print(f"{'name':30}{'family':16}{'parameters':>11}{'FLOP/fine cell':>16}  reach (time; lat; lon)")
    for row in rows:
        shown = _in_words(row["receptive_field"])
        if row["step_field"] is not None:
            shown += f"; a step {_in_words(row['step_field'])}"
        notes = ["default"] * row["default"] + (["recipe"] if row["path"] is None else ["bundled"])
        notes += ["adversarial"] * (row.get("training") == "adversarial")
        print(
            f"{row['name']:30}{row['family']:16}{row['parameters']:>11,}{row['flops_per_fine_cell']:>16,.0f}  "
            f"{shown} ({', '.join(notes)})"
        )


def _in_words(reach: dict[str, list[int]] | str) -> str:
    return reach if isinstance(reach, str) else "; ".join(f"{before}+{after}" for before, after in reach.values())
