import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.data.coarsen import gauss_decimate
from gfs_sr.data.patches import Patch, PatchSampler, cut_coarse, cut_fine
from gfs_sr.errors import ShapeMismatch
from tests import fields


def test_s000_06_ten_thousand_patches_are_registered():
    fine = fields.waves(1, 141, 141)[0]
    coarse = gauss_decimate(fine, 1.0, 6)  # radius 4: one coarse cell off the rim the blur sees the patch only
    sampler = PatchSampler(coarse.shape, 10, 6, fine.shape)
    for index in range(10_000):
        patch = sampler.draw(0, index)
        assert all(origin % 6 == 0 for origin in patch.fine_origin(6))
        if index % 50 == 0:
            again = gauss_decimate(cut_fine(fine, patch, 6), 1.0, 6)
            assert_allclose(again[1:-1, 1:-1], cut_coarse(coarse, patch)[1:-1, 1:-1], atol=1e-6)


def test_s000_06_a_draw_depends_on_its_counter_alone():
    one, other = PatchSampler((24, 24), 16, 6), PatchSampler((24, 24), 16, 6)
    forward = [one.draw(2, k) for k in range(50)]
    backward = [other.draw(2, k) for k in reversed(range(50))][::-1]
    assert forward == backward
    assert forward != [one.draw(3, k) for k in range(50)]
    assert forward != [PatchSampler((24, 24), 16, 6, seed=1).draw(2, k) for k in range(50)]


def test_every_origin_is_reached_and_none_leaves_the_fine_field():
    sampler = PatchSampler((24, 24), 16, 6, (141, 141))
    origins = {(patch.row, patch.col) for patch in (sampler.draw(0, k) for k in range(2000))}
    assert origins == {(i, j) for i in range(8) for j in range(8)}  # 141 // 6 = 23 full blocks, 23 - 16 + 1 origins


def test_the_centered_patch_is_registered():
    assert PatchSampler((24, 24), 16, 6, (141, 141)).centered() == Patch(3, 3, 16)


def test_context_is_data_and_replicated_beyond_the_field():
    coarse = fields.waves(2, 8, 9)
    window = cut_coarse(coarse, Patch(1, 2, 3), context=2)
    assert window.shape == (2, 7, 7)
    padded = np.pad(coarse, [(0, 0), (2, 2), (2, 2)], mode="edge")
    assert_array_equal(window, padded[:, 1:8, 2:9])
    wrapped = np.pad(coarse, [(0, 0), (0, 0), (2, 2)], mode="wrap")
    assert_array_equal(cut_coarse(coarse, Patch(2, 0, 4), 2, periodic=True), wrapped[:, 0:8, 0:8])


def test_a_patch_larger_than_the_field_is_refused():
    with pytest.raises(ShapeMismatch, match="at most 12"):
        PatchSampler((12, 20), 16, 6)
