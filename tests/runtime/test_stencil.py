"""Convolutions of one field into many: against the plain sum in double precision, and in OpenVINO's place."""

import numpy as np
import pytest

from gfs_sr._core import convolve_field
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import open_backend
from gfs_sr.runtime.backends.choice import smooth_inputs
from tests.runtime.test_winograd import NEEDS_OPENVINO, plain


def made(frames, outputs, size, height, width):
    random = np.random.default_rng(0)
    weight = random.normal(size=(outputs, 1, *size)).astype(np.float32)
    return weight, random.normal(size=(frames, 1, height, width)).astype(np.float32)


def truth_of(source, weight):
    """The sum over shifts, in float64, of a stencil of any sides."""
    rows, columns = weight.shape[2:]
    height, width = source.shape[2] - rows + 1, source.shape[3] - columns + 1
    total = np.zeros((len(source), len(weight), height, width))
    for i in range(rows):
        for j in range(columns):
            total += weight[:, 0, i, j].astype(float)[:, None, None] * source[:, :, i : i + height, j : j + width]
    return total


@pytest.mark.parametrize(("frames", "outputs", "size", "height", "width"), [
    (1, 1, (1, 1), 1, 1), (2, 36, (2, 2), 9, 66), (3, 36, (4, 4), 7, 67), (1, 5, (9, 9), 12, 200),
    (2, 3, (1, 3), 4, 131), (4, 36, (2, 2), 130, 130),
])  # fmt: skip
@pytest.mark.parametrize("threads", [1, 2])
def test_any_shape_is_the_plain_convolution(frames, outputs, size, height, width, threads):
    weight, source = made(frames, outputs, size, height, width)
    target = np.full((frames, outputs, height - size[0] + 1, width - size[1] + 1), np.nan, np.float32)
    convolve_field(weight, source, target, threads)
    np.testing.assert_allclose(target, truth_of(source, weight), rtol=0, atol=1e-6 * weight[0].size + 1e-6)


def test_both_plain_sums_are_one():
    weight, source = made(2, 4, (3, 3), 8, 9)
    np.testing.assert_allclose(truth_of(source, weight), plain(source, weight, np.zeros(4)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("weight", "source", "target", "said"), [
    ((4, 2, 3, 3), (1, 1, 5, 5), (1, 4, 3, 3), "weight is"), ((4, 3, 3), (1, 1, 5, 5), (1, 4, 3, 3), "weight is"),
    ((4, 1, 3, 3), (1, 1, 2, 5), (1, 4, 0, 3), "source is"), ((4, 1, 3, 3), (1, 2, 5, 5), (1, 4, 3, 3), "source is"),
    ((4, 1, 3, 3), (1, 1, 5, 5), (1, 4, 3, 4), "target is"),
])  # fmt: skip
def test_other_shapes_are_refused(weight, source, target, said):
    with pytest.raises(ValueError, match=said):
        convolve_field(*(np.zeros(shape, np.float32) for shape in (weight, source, target)), 1)


@NEEDS_OPENVINO
def test_the_fixed_filters_of_the_default_are_ours_and_change_nothing():
    from gfs_sr.runtime.backends import stencil_node

    artifact, replaced = Artifact.open("fused-node"), []
    replace = stencil_node.replace_stencils
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stencil_node, "replace_stencils", lambda *given: replaced.append(replace(*given)))
        inputs = smooth_inputs(artifact.contract, (1, 2, 1, 12, 70))
        fields = []
        for name in ("openvino-winograd", "openvino"):
            with open_backend(name, artifact, threads=2) as backend:
                fields.append(np.array(backend.infer(inputs)["fine"]))
    assert len(replaced) == 1
    assert replaced[0] >= 5  # interpolation in space, twice, and its corrections
    np.testing.assert_allclose(*fields, rtol=0, atol=2e-5)


@NEEDS_OPENVINO
@pytest.mark.parametrize(("changed", "count"), [
    ({}, 1), ({"strides": 2}, 0), ({"dilations": 2}, 0), ({"pad": 1}, 0), ({"inputs": 2}, 0), ({"outputs": 1}, 0),
])  # fmt: skip
def test_only_convolutions_of_the_plain_kind_are_replaced(changed, count):
    import openvino
    from openvino import opset13 as ops

    from gfs_sr.runtime.backends.stencil_node import replace_stencils

    facts = {"strides": 1, "dilations": 1, "pad": 0, "inputs": 1, "outputs": 8} | changed
    source = ops.parameter([2, facts["inputs"], 9, 70], np.float32, name="x")
    weight = np.random.default_rng(0).normal(size=(facts["outputs"], facts["inputs"], 3, 3)).astype(np.float32)
    strides, pads, dilations = ([facts[key]] * 2 for key in ("strides", "pad", "dilations"))
    node = ops.convolution(source, ops.constant(weight), strides, pads, pads, dilations)
    model = openvino.Model([node.output(0)], [source], "one")
    given = np.random.default_rng(1).normal(size=(2, facts["inputs"], 9, 70)).astype(np.float32)
    before = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)[0].copy()
    assert replace_stencils(model, 1) == count
    after = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(given)[0]
    np.testing.assert_allclose(after, before, rtol=0, atol=2e-5)
