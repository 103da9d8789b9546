"""A small artifact made by hand: registered Keys cubic in space, linear in time, any of the variables."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from gfs_sr.contract import Contract, Halo, Predictor, PredictorGrid, Quantiles, Scaling
from gfs_sr.data.grid import Registration
from gfs_sr.data.variables import lookup
from gfs_sr.runtime.artifact import publish_artifact, write_manifest

VARIABLES = ("t2m", "d2m", "r2", "u10", "v10", "wspd", "sp", "msl")
REACH = 2


def keys(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel, a = -0.5."""
    t = np.abs(distance)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def taps(s: int, registration: Registration) -> np.ndarray:
    """(s, 5) weights of the coarse cells -2 … 2 around the one a fine cell belongs to."""
    m = np.arange(s)
    position = m / s if registration is Registration.NODE else (m + 0.5) / s - 0.5
    return keys(position[:, None] - np.arange(-REACH, REACH + 1))


def interpolation_contract(
    s: int = 6, r: int = 6, registration: Registration = Registration.NODE, **changes: object
) -> Contract:
    """Of a model that interpolates and knows nothing else."""
    scalings = {name: Scaling(mean=lookup(name).typical[0], sd=lookup(name).typical[1]) for name in VARIABLES}
    facts: dict[str, object] = {
        "family": "interpolation",
        "name": "test-interpolation",
        "inputs": VARIABLES,
        "outputs": VARIABLES,
        "any_subset": True,
        "scale_factor": s,
        "time_factor": r,
        "registration": registration,
        "halo": Halo(before=0, after=1, north=REACH, south=REACH, west=REACH, east=REACH),
        "normalization": scalings,
        "envelope": {"t2m": Quantiles(low=200.0, median=280.0, high=325.0)},
        "interval_hours": (6.0,),
        "base": "bicubic/linear",
    }
    return Contract.model_validate(facts | changes)


def interpolation_graph(contract: Contract) -> onnx.ModelProto:
    """The graph; where the contract has the sun's predictor on fine cells, 1 % of it is added."""
    s, r = contract.scale_factor, contract.time_factor
    kernel = taps(s, contract.registration)
    weight = np.einsum("pi,qj->pqij", kernel, kernel).reshape(s * s, 1, 5, 5).astype(np.float32)
    later = (np.arange(r, dtype=np.float32) / r).reshape(1, 1, r, 1, 1, 1)
    constants = {
        "weight": weight,
        "later": later,
        "earlier": 1 - later,
        "flat": np.array([-1, 1, 0, 0], np.int64),
        "axis": np.array([2], np.int64),
        "first": np.array([0], np.int64),
        "last": np.array([-1], np.int64),
        "one": np.array([1], np.int64),
        "end": np.array([2**31], np.int64),
        "time": np.array([1], np.int64),
        "percent": np.array(0.01, np.float32),
        "scale": np.array([s], np.int64),
        "r": np.array([r], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["coarse"], ["shape"]),
        helper.make_node("Slice", ["shape", "first", "three"], ["btc"]),
        helper.make_node("Slice", ["shape", "three", "five"], ["padded"]),
        helper.make_node("Concat", ["minus", "one", "padded"], ["flat_shape"], axis=0),
        helper.make_node("Reshape", ["coarse", "flat_shape"], ["images"]),
        helper.make_node("Conv", ["images", "weight"], ["phases"]),
        helper.make_node("DepthToSpace", ["phases"], ["fine_images"], blocksize=s, mode="CRD"),
        helper.make_node("Shape", ["fine_images"], ["fine_shape"]),
        helper.make_node("Slice", ["fine_shape", "two", "four"], ["fine_cells"]),
        helper.make_node("Concat", ["btc", "fine_cells"], ["spatial_shape"], axis=0),
        helper.make_node("Reshape", ["fine_images", "spatial_shape"], ["spatial"]),
        helper.make_node("Slice", ["spatial", "first", "last", "time"], ["now"]),
        helper.make_node("Slice", ["spatial", "one", "end", "time"], ["next"]),
        helper.make_node("Unsqueeze", ["now", "axis"], ["now_r"]),
        helper.make_node("Unsqueeze", ["next", "axis"], ["next_r"]),
        helper.make_node("Mul", ["now_r", "earlier"], ["a"]),
        helper.make_node("Mul", ["next_r", "later"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["stacked"]),
        helper.make_node("Slice", ["shape", "first", "one"], ["batch"]),
        helper.make_node("Slice", ["shape", "two", "three"], ["channels"]),
        helper.make_node("Concat", ["batch", "minus", "channels", "fine_cells"], ["output_shape"], axis=0),
        helper.make_node("Reshape", ["stacked", "output_shape"], ["base"]),
    ]
    for name, value in (("two", 2), ("three", 3), ("four", 4), ("five", 5), ("minus", -1)):
        constants[name] = np.array([value], np.int64)
    inputs = [
        helper.make_tensor_value_info("coarse", TensorProto.FLOAT, ["B", "T", "C", "H", "W"]),
        helper.make_tensor_value_info("variable", TensorProto.INT64, ["C"]),
    ]
    if contract.predictors:
        nodes.append(helper.make_node("Mul", ["predictor_fine", "percent"], ["sun"]))
        nodes.append(helper.make_node("Add", ["base", "sun"], ["fine"]))
        inputs.append(helper.make_tensor_value_info("predictor_fine", TensorProto.FLOAT, ["B", "Tf", 1, "Hf", "Wf"]))
    else:
        nodes.append(helper.make_node("Identity", ["base"], ["fine"]))
    fine = helper.make_tensor_value_info("fine", TensorProto.FLOAT, ["B", "Tf", "C", "Hf", "Wf"])
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used]
    graph = helper.make_graph(nodes, "interpolation", inputs, [fine], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


SUN = (Predictor(name="cos_solar_zenith", grid=PredictorGrid.FINE),)


def make_interpolation_artifact(target: Path, contract: Contract | None = None) -> Path:
    """Publish it."""
    contract = contract or interpolation_contract()
    with publish_artifact(target) as draft:
        (draft / "graphs").mkdir()
        onnx.save(interpolation_graph(contract), draft / "graphs" / "model.onnx")
        save_file({"unused": np.arange(3, dtype=np.float32)}, draft / "weights.safetensors")
        write_manifest(draft, contract=contract, config={"family": "test"}, parameters=0, flops_per_fine_cell=50.0)
    return target
