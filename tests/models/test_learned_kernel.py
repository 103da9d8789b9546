"""A linear interpolation that is fitted: it finds what made the fields, and knows no mean."""

import torch

from gfs_sr.models.learned_kernel import Kernel


def a_kernel(seed=0):
    kernel = Kernel(3, 2)
    with torch.no_grad():
        kernel.weight.copy_(torch.randn(kernel.weight.shape, generator=torch.Generator().manual_seed(seed)))
    return kernel


def fields(count=6, rows=11, columns=9, seed=1):
    return torch.randn(count, 1, 2, rows, columns, generator=torch.Generator().manual_seed(seed))


def test_it_starts_at_nothing():
    assert not Kernel(5, 4)(fields()).any()


def test_a_constant_adds_nothing_and_moves_nothing():
    kernel, coarse = a_kernel(), fields()
    torch.testing.assert_close(kernel(coarse + 40.0), kernel(coarse), rtol=0, atol=2e-4)  # fp32 at 40


def test_each_fine_cell_is_the_weighted_sum_of_the_cells_around_its_coarse_one():
    kernel, coarse = a_kernel(), fields()
    fine = kernel(coarse)
    weight = kernel.weight - kernel.weight.mean(dim=(2, 3), keepdim=True)
    for y, x in ((0, 0), (1, 0), (0, 1)):  # of a block, in the order of pixel_shuffle
        expected = (weight[2 * y + x, 0] * coarse[3, 0, 1, 4:7, 2:5]).sum()
        torch.testing.assert_close(fine[3, 0, 1, 2 * 5 + y, 2 * 3 + x], expected)


def test_the_fit_finds_the_kernel_that_fields_were_made_by_whatever_their_size():
    made, found = a_kernel(), Kernel(3, 2)
    sizes = torch.tensor([1e-3, 1.0, 50.0])
    pairs = [
        (size * fields(seed=k), made(size * fields(seed=k)), torch.ones(6, 1, 2, 22, 18))
        for k, size in enumerate(sizes)
    ]
    found.fit(pairs)
    expected = made.weight - made.weight.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(found.weight - found.weight.mean(dim=(2, 3), keepdim=True), expected, rtol=0, atol=0.02)


def test_cells_that_are_not_known_have_no_part():
    made, found, spoilt = a_kernel(), Kernel(3, 2), Kernel(3, 2)
    coarse = fields()
    missing, known = made(coarse), torch.ones(6, 1, 2, 22, 18)
    found.fit([(coarse, missing.clone(), known)])
    known[:, :, :, 8:12, 6:9] = 0
    missing = torch.where(known > 0, missing, 1e6)
    spoilt.fit([(coarse, missing, known)])
    torch.testing.assert_close(spoilt.weight, found.weight, rtol=0, atol=0.05)


def test_nothing_to_fit_leaves_it_at_nothing():
    kernel = Kernel(3, 2)
    kernel.fit([(torch.zeros(1, 1, 1, 4, 4), torch.zeros(1, 1, 1, 8, 8), torch.ones(1, 1, 1, 8, 8))])
    assert not kernel.weight.any()
