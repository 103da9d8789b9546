"""Every kernel equals its reference, at any shape, in every precision."""

import pytest
import torch

from gfs_sr.errors import ShapeMismatch
from gfs_sr.kernels import between_frames, conv_shuffle, reference, residual_block, temporal_stack
from gfs_sr.kernels.launch import PRECISIONS, Tuning
from tests.kernels.specimens import CASES, arguments

KERNELS = {
    "temporal_stack": temporal_stack.temporal_stack,
    "between_frames": between_frames.between_frames,
    "conv_shuffle": conv_shuffle.conv_shuffle,
    "conv_shuffle_fine": conv_shuffle.conv_shuffle_fine,
    "residual_block": residual_block.residual_block,
}
REFERENCES = {name: getattr(reference, name) for name in KERNELS}
SMALL = Tuning(block=16, warps=4, frames=6, columns=16)  # several programs even at small shapes
# of outputs of size 1: fp32 sums in another order; 10, 11 and 8 bits of mantissa through up to three layers
TOLERANCES = {"ieee": 2e-5, "tf32": 2e-2, "fp16": 1e-2, "bf16": 8e-2}


def both(name, given, precision, tuning=SMALL):
    got = KERNELS[name](*given, precision, tuning)
    want = REFERENCES[name](*given)
    return (got, want) if isinstance(got, tuple) else ((got,), (want,))


@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernel_equals_its_reference(name, shape, precision, device):
    given = [each.to(device) if isinstance(each, torch.Tensor) else each for each in arguments(name, shape)]
    for got, want in zip(*both(name, given, precision), strict=True):
        assert got.shape == want.shape
        torch.testing.assert_close(got, want, atol=TOLERANCES[precision], rtol=TOLERANCES[precision])


@pytest.mark.parametrize("block", [16, 32, 64])
@pytest.mark.parametrize("frames", [1, 2, 16])
def test_the_temporal_stack_does_not_depend_on_its_blocks(block, frames, device):
    given = [each.to(device) for each in arguments("temporal_stack", (1, 7, 3, 35, 16, 6))]
    (got,), (want,) = both("temporal_stack", given, "ieee", Tuning(block, 4, frames=frames))
    torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


def test_weights_held_between_steps_give_the_same(device):
    given = [each.to(device) for each in arguments("temporal_stack", (1, 4, 3, 20, 16, 6))]
    held, loaded = (
        KERNELS["temporal_stack"](*given, "fp16", Tuning(16, 4, frames=4, held=held)) for held in (True, False)
    )
    assert torch.equal(held, loaded)


@pytest.mark.parametrize("name", ["conv_shuffle", "conv_shuffle_fine", "residual_block"])
def test_memory_order_of_the_input_does_not_matter(name, device):
    shape = dict(CASES[::-1])[name]
    given = [each.to(device) if isinstance(each, torch.Tensor) else each for each in arguments(name, shape)]
    plain = KERNELS[name](*given, "ieee", SMALL)
    given[0] = given[0].contiguous(memory_format=torch.channels_last)
    assert torch.equal(KERNELS[name](*given, "ieee", SMALL), plain)


def test_features_may_lie_channels_last(device):
    given = [each.to(device) for each in arguments("between_frames", (2, 3, 4, 2, 24, 11, 37))]
    plain = KERNELS["between_frames"](*given, "ieee", SMALL)
    given[:2] = [each.mT.contiguous().mT for each in given[:2]]
    for got, want in zip(KERNELS["between_frames"](*given, "ieee", SMALL), plain, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)


def test_a_tile_of_the_residual_block_reads_no_other_tile(device):
    """Programs walk over several tiles with one scratch: what the last tile left must not show."""
    given = [each.to(device) if isinstance(each, torch.Tensor) else each
             for each in arguments("residual_block", (2, 8, 13, 29))]  # fmt: skip
    (got,), (want,) = both("residual_block", given, "ieee")
    torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


def test_values_are_held_within_bounds(device):
    given = [each.to(device) if isinstance(each, torch.Tensor) else each
             for each in arguments("conv_shuffle_fine", (1, 20, 3, 5, 3, 2, 17))]  # fmt: skip
    fine = KERNELS["conv_shuffle_fine"](*given, "ieee", SMALL)
    assert fine.min() == -1.5
    assert fine.max() == 2.0


def test_an_image_beyond_32_bit_offsets_is_refused(monkeypatch):
    monkeypatch.setattr("gfs_sr.kernels.launch.LARGEST_IMAGE", 100)
    with pytest.raises(ShapeMismatch, match="smaller tiles"):
        KERNELS["residual_block"](*arguments("residual_block", (1, 16, 7, 7)), "ieee", SMALL)
