"""Kernels run in Triton's interpreter where there is no GPU; memory that nobody wrote is NaN."""

import importlib.util

import pytest
import torch

HAS_TRITON = importlib.util.find_spec("triton") is not None

collect_ignore = [] if HAS_TRITON else ["test_equal_reference.py", "test_compile.py"]


@pytest.fixture
def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch):
    """References are fp32: cuDNN would compute convolutions with 10 bits of mantissa, if it may."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(autouse=True)
def empty_is_nan():
    """`torch.empty` yields NaN, so that a cell which no program wrote shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def bf16_products(monkeypatch):
    """The interpreter of Triton 3.9 multiplies the bit patterns of bf16 matrices: give it their values in fp32."""
    if torch.cuda.is_available() or not HAS_TRITON:
        return
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    plain = InterpreterBuilder.create_dot

    def create_dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        wide = [self.cast_impl(each, tl.float32) if each.dtype.scalar == tl.bfloat16 else each for each in (a, b)]
        return plain(self, *wide, d, input_precision, max_num_imprecise_acc)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
