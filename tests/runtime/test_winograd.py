"""Our 3×3 convolution: against the plain sum in double precision, and in the place of OpenVINO's own."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gfs_sr._core import WinogradConvolution, WinogradWorkspace, winograd_lanes
from gfs_sr.errors import UsageError
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.choice import smooth_inputs

NEEDS_OPENVINO = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs openvino: pip install 'gfs-sr[openvino]'"
)


def plain(source, weight, bias) -> np.ndarray:
    """The convolution as a sum over shifts, in float64."""
    size = weight.shape[-1]
    height, width = source.shape[2] - size + 1, source.shape[3] - size + 1
    total = np.zeros((len(source), len(weight), height, width)) + bias[:, None, None].astype(float)
    for i in range(size):
        for j in range(size):
            part = source[:, :, i : i + height, j : j + width].astype(float)
            total += np.einsum("kc,nchw->nkhw", weight[:, :, i, j].astype(float), part)
    return total


def made(frames, inputs, outputs, height, width, seed=0, size=3):
    random = np.random.default_rng(seed)
    source = random.normal(size=(frames, inputs, height, width)).astype(np.float32)
    weight = (random.normal(size=(outputs, inputs, size, size)) / np.sqrt(size**2 * inputs)).astype(np.float32)
    return source, weight, random.normal(size=outputs).astype(np.float32)


@pytest.mark.parametrize(
    ("frames", "inputs", "outputs", "height", "width"),
    [(1, 1, 1, 5, 5), (2, 3, 5, 6, 9), (3, 48, 36, 7, 70), (1, 64, 64, 41, 23), (5, 7, 9, 6, 131), (1, 32, 33, 90, 66)],
)
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize(("threads", "lanes"), [(1, 16), (2, 16), (1, 8), (1, 4)])
def test_any_shape_is_the_plain_convolution(frames, inputs, outputs, height, width, size, threads, lanes) -> None:
    if winograd_lanes() < lanes < 16:
        pytest.skip(f"this processor has no vectors of {lanes} floats")
    source, weight, bias = made(frames, inputs, outputs, height, width, size=size)
    target = np.full((frames, outputs, height - size + 1, width - size + 1), np.nan, np.float32)
    WinogradConvolution(weight, bias, False).run(source, target, None, WinogradWorkspace(), threads, lanes)
    np.testing.assert_allclose(target, plain(source, weight, bias), rtol=0, atol=1.5e-5)


@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_a_relu_comes_before_what_is_skipped(lanes) -> None:
    source, weight, bias = made(2, 8, 8, 13, 77)
    skip = made(2, 8, 8, 15, 79, seed=1)[0]
    target = np.full((2, 8, 11, 75), np.nan, np.float32)
    WinogradConvolution(weight, bias, True).run(source, target, skip, WinogradWorkspace(), 1, lanes)
    truth = np.maximum(plain(source, weight, bias), 0) + skip[:, :, 2:-2, 2:-2]
    np.testing.assert_allclose(target, truth, rtol=0, atol=1.5e-5)


def test_the_result_may_lie_in_the_place_of_what_is_skipped() -> None:
    source, weight, bias = made(2, 8, 8, 13, 77)
    skip = made(2, 8, 8, 15, 79, seed=1)[0]
    truth = plain(source, weight, bias) + skip[:, :, 2:-2, 2:-2]
    inside = skip[:, :, 2:-2, 2:-2]
    rim = skip.copy()
    WinogradConvolution(weight, bias, False).run(source, inside, skip, WinogradWorkspace(), 2)
    np.testing.assert_allclose(inside, truth, rtol=0, atol=1.5e-5)
    rim[:, :, 2:-2, 2:-2] = inside
    np.testing.assert_array_equal(skip, rim)
    # and what lies in a larger field is read as well
    again = np.empty((2, 8, 9, 73), np.float32)
    WinogradConvolution(weight, bias, False).run(inside, again, None, WinogradWorkspace(), 1)
    np.testing.assert_allclose(again, plain(inside, weight, bias), rtol=0, atol=1.5e-5)


def test_a_workspace_serves_small_and_large_in_turn_and_threads_change_no_bit() -> None:
    workspace, results = WinogradWorkspace(), []
    for threads in (1, 2, 1):
        for shape in ((1, 16, 16, 10, 10), (2, 16, 16, 60, 90)):
            source, weight, bias = made(*shape)
            target = np.full((shape[0], 16, shape[3] - 2, shape[4] - 2), np.nan, np.float32)
            WinogradConvolution(weight, bias, False).run(source, target, None, workspace, threads)
            results.append(target)
    for first, again in zip(results[:2] * 2, results[2:], strict=True):
        np.testing.assert_array_equal(first, again)


def test_missing_values_stay_near_where_they_are() -> None:
    source, weight, bias = made(1, 4, 4, 40, 40)
    source[0, 0, 20, 20] = np.nan
    target = np.empty((1, 4, 38, 38), np.float32)
    WinogradConvolution(weight, bias, False).run(source, target, None, WinogradWorkspace(), 1)
    rows, columns = np.nonzero(np.isnan(target[0, 0]))
    assert len(rows)
    assert rows.min() >= 14 and rows.max() <= 23 and columns.min() >= 14 and columns.max() <= 23  # noqa: PT018


@pytest.mark.parametrize(
    ("source", "target", "skip", "what"),
    [
        ((1, 3, 8, 8), (1, 4, 6, 6), None, "source is"),
        ((1, 4, 8, 8), (1, 4, 6, 5), None, "target is"),
        ((1, 4, 2, 8), (1, 4, 0, 6), None, "3 or more rows"),
        ((1, 4, 8, 8), (1, 4, 6, 6), (1, 4, 8, 8), "skip is"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(source, target, skip, what) -> None:
    convolution = WinogradConvolution(*made(1, 4, 4, 5, 5)[1:], False)
    arrays = [None if shape is None else np.zeros(shape, np.float32) for shape in (source, target, skip)]
    with pytest.raises(ValueError, match=what):
        convolution.run(*arrays, WinogradWorkspace(), 1)


def test_rows_whose_values_lie_apart_are_refused() -> None:
    source, weight, bias = made(1, 4, 4, 8, 16)
    with pytest.raises(ValueError, match="side by side"):
        WinogradConvolution(weight, bias, False).run(
            source[..., ::2], np.empty((1, 4, 6, 6), np.float32), None, WinogradWorkspace(), 1
        )


def test_this_processor_has_a_kernel() -> None:
    assert winograd_lanes() in {4, 8, 16}


@NEEDS_OPENVINO
@pytest.mark.parametrize(
    ("config", "replaced", "alone", "joined"),
    [
        ({"family": "factorized", "blocks": 3}, 7, 1, 1),
        ({"family": "fused"}, 10, 6, 1),
    ],
)
def test_a_network_is_the_one_that_onnx_runtime_computes(tmp_path: Path, config, replaced, alone, joined) -> None:
    pytest.importorskip("torch", reason="needs torch, the extra `train`")
    from export.publication import publish
    from gfs_sr.runtime.backends.winograd_nodes import replace_convolutions
    from tests.export.checkpoints import make_checkpoint

    artifact = publish(make_checkpoint(config, spread=0.05), tmp_path / "artifact").artifact
    inputs = smooth_inputs(artifact.contract, (2, 1, len(artifact.contract.inputs), 13, 22))
    fields = {}
    for name in ("onnxruntime", "openvino-winograd"):
        with open_backend(name, artifact) as backend:
            fields[name] = np.array(backend.infer(inputs)["fine"])
    size = np.abs(fields["onnxruntime"]).max()
    np.testing.assert_allclose(fields["openvino-winograd"], fields["onnxruntime"], rtol=0, atol=1e-5 * size)

    import openvino

    model = openvino.Core().read_model(str(artifact.graph("model")))
    model.reshape({name: list(array.shape) for name, array in inputs.items()})
    assert replace_convolutions(model, 1) == replaced
    kinds = [node.get_type_name() for node in model.get_ordered_ops()]
    assert (kinds.count("WinogradNode"), kinds.count("ResidualBlocksNode")) == (alone, joined)


@NEEDS_OPENVINO
def test_other_precisions_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch, the extra `train`")
    from export.publication import publish
    from tests.export.checkpoints import make_checkpoint

    artifact: Artifact = publish(make_checkpoint({"family": "fused"}), tmp_path / "a", precision="bf16").artifact
    with pytest.raises(UsageError, match="computes in fp32, not in bf16"):
        open_backend("openvino-winograd", artifact).activate()
