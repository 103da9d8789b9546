"""The operators: shapes for tracing, gradients, and the reference where there is no GPU."""

import pytest
import torch
from torch.library import opcheck

from gfs_sr.kernels import operators, reference
from tests.kernels.specimens import CASES, arguments

OPERATORS = {
    name: getattr(operators, name)
    for name in ("temporal_stack", "between_frames", "conv_shuffle", "conv_shuffle_fine", "residual_block")
}
SMALLEST = dict(reversed(CASES))


def tensors(given):
    return [each for each in given if isinstance(each, torch.Tensor)]


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_what_pytorch_expects_of_one(name):
    given = arguments(name, SMALLEST[name])
    for each in tensors(given):
        each.requires_grad_()
    opcheck(OPERATORS[name], (*given, "ieee"))


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_are_those_of_the_reference(name):
    given = arguments(name, SMALLEST[name])
    found = []
    for function, extra in ((OPERATORS[name], ("ieee",)), (getattr(reference, name), ())):
        leaves = [each.clone().requires_grad_() if isinstance(each, torch.Tensor) else each for each in given]
        result = function(*leaves, *extra)
        total = sum(each.square().sum() for each in (result if isinstance(result, tuple) else (result,)))
        found.append(torch.autograd.grad(total, tensors(leaves)))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want)


def test_gradients_of_unused_outputs_are_not_asked_for():
    given = arguments("between_frames", SMALLEST["between_frames"])
    given[0].requires_grad_()
    at_times, _ = operators.between_frames(*given, "ieee")
    at_times.sum().backward()
    assert given[0].grad is not None
