"""On a real GPU with TensorRT: an engine that holds our kernels is built, and passes the gate of `export.trt`.

Run by `benchmarks/gpu.sh`; elsewhere deselected, and skipped where it is selected all the same.
"""

import pytest

torch = pytest.importorskip("torch", reason="needs torch, the extra `train`")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run benchmarks/gpu.sh on one"),
]
MODELS = {
    "fused": {"family": "fused", "variables": ["t2m", "u10", "sp"]},
    "factorized": {"family": "factorized", "blocks": 4},
}


@pytest.mark.parametrize(
    ("family", "precision"),  # the two minutes that benchmarks/gpu.sh gives are not enough for every pair
    [("fused", "bf16"), ("factorized", "bf16"), ("fused", "fp32"), ("factorized", "fp16")],
)
def test_an_engine_that_holds_our_kernels_passes_the_gate(family, precision, tmp_path):
    pytest.importorskip("tensorrt", reason="needs TensorRT")
    from export.trt import export_engine
    from tests.export.checkpoints import write_checkpoint

    ckpt = write_checkpoint(tmp_path / "model.ckpt", MODELS[family], spread=0.01)
    made = export_engine(ckpt, tmp_path / "model", precision=precision, tile=(2, 32, 32), batch=(1, 1, 2), plugins=True)
    assert made["engine_parity"]
