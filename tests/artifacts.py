"""Small artifacts made by hand: a graph whose function is known without any network."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from gfs_sr.contract import Contract, Halo, Scaling, Skill
from gfs_sr.data.grid import Registration
from gfs_sr.runtime.artifact import publish_artifact, write_manifest


def repeat_contract(**changes: object) -> Contract:
    """Of a model that repeats every cell inside its halo twice along lat and lon."""
    facts: dict[str, object] = {
        "family": "interpolation",
        "name": "repeat",
        "inputs": ("t2m", "sp"),
        "outputs": ("t2m", "sp"),
        "scale_factor": 2,
        "time_factor": 1,
        "registration": Registration.CELL,
        "halo": Halo(before=1, after=0, north=1, south=2, west=0, east=1),
        "normalization": {"t2m": Scaling(mean=281.0, sd=17.0), "sp": Scaling(mean=97000.0, sd=9500.0)},
        "interval_hours": (6.0,),
        "base": "nearest/hold",
    }
    return Contract.model_validate(facts | changes)


def repeat_graph() -> onnx.ModelProto:
    """The graph: crop the halo of `repeat_contract`, then repeat cells."""
    integers = {"starts": [1, 1, 0], "ends": [2**31, -2, -1], "axes": [1, 3, 4]}
    constants = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in integers.items()]
    constants.append(numpy_helper.from_array(np.array([1, 1, 1, 2, 2], np.float32), "scales"))
    nodes = [
        helper.make_node("Slice", ["coarse", "starts", "ends", "axes"], ["core"]),
        helper.make_node(
            "Resize", ["core", "", "scales"], ["fine"],
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        ),
    ]  # fmt: skip
    coarse = helper.make_tensor_value_info("coarse", TensorProto.FLOAT, ["B", "T", 2, "H", "W"])
    fine = helper.make_tensor_value_info("fine", TensorProto.FLOAT, ["B", "Tf", 2, "Hf", "Wf"])
    graph = helper.make_graph(nodes, "repeat", [coarse], [fine], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def repeat_truth(coarse: np.ndarray) -> np.ndarray:
    """(B, T+1, 2, H+3, W+1) -> (B, T, 2, 2H, 2W), in NumPy."""
    return coarse[:, 1:, :, 1:-2, :-1].repeat(2, axis=3).repeat(2, axis=4)


def make_repeat_artifact(target: Path, skill: tuple[Skill, ...] = (), **changes: object) -> Path:
    """Publish it; `changes` go into the contract, which may so come to promise what the graph does not do."""
    with publish_artifact(target) as draft:
        (draft / "graphs").mkdir()
        onnx.save(repeat_graph(), draft / "graphs" / "model.onnx")
        save_file({"unused": np.arange(3, dtype=np.float32)}, draft / "weights.safetensors")
        write_manifest(
            draft, contract=repeat_contract(**changes), config={"family": "repeat"},
            parameters=0, flops_per_fine_cell=0.0, skill=skill,
        )  # fmt: skip
    return target
