"""What every backend must do; a backend's tests subclass the suite."""

from pathlib import Path

import numpy as np
import pytest

from gfs_sr.errors import BackendFailed, BackendNotActive, ShapeMismatch, UsageError
from gfs_sr.runtime.artifact import Artifact
from gfs_sr.runtime.backends import Backend, open_backend
from tests.artifacts import make_repeat_artifact, repeat_truth

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (3, 1, 17, 4)]  # core (B, T, H, W)


class BackendSuite:
    """Subclasses name the backend, and may bring an artifact and truth of their own."""

    name: str
    provider: str

    @pytest.fixture
    def artifact(self, tmp_path: Path) -> Artifact:
        return Artifact.open(make_repeat_artifact(tmp_path / "repeat"))

    def truth(self, coarse: np.ndarray) -> np.ndarray:
        return repeat_truth(coarse)

    def inputs(self, coarse: np.ndarray) -> dict[str, np.ndarray]:
        return {"coarse": coarse}

    def opened(self, artifact: Artifact, **options: object) -> Backend:
        return open_backend(self.name, artifact, **options)  # type: ignore[arg-type]

    def coarse(self, artifact: Artifact, shape: tuple[int, int, int, int]) -> np.ndarray:
        halo = artifact.contract.halo
        b, t, h, w = shape
        padded = (
            b, t + halo.before + halo.after, len(artifact.contract.inputs),
            h + halo.north + halo.south, w + halo.west + halo.east,
        )  # fmt: skip
        return np.random.default_rng(7).normal(size=padded).astype(np.float32)

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_output_equals_truth_at_every_shape(self, artifact: Artifact, shape: tuple[int, int, int, int]) -> None:
        coarse = self.coarse(artifact, shape)
        with self.opened(artifact) as backend:
            fine = backend.infer(self.inputs(coarse))["fine"]
            np.testing.assert_allclose(fine, self.truth(coarse), rtol=0, atol=2e-5)  # sd; fp32 sums in another order

    def test_shapes_may_change_between_batches(self, artifact: Artifact) -> None:
        with self.opened(artifact, threads=1) as backend:
            for shape in SHAPES:
                coarse = self.coarse(artifact, shape)
                fine = backend.infer(self.inputs(coarse))["fine"]
                np.testing.assert_allclose(fine, self.truth(coarse), rtol=0, atol=2e-5)

    def test_one_batch_twice_is_bitwise_equal(self, artifact: Artifact) -> None:
        coarse = self.coarse(artifact, (2, 2, 6, 5))
        with self.opened(artifact) as backend:
            first = backend.infer(self.inputs(coarse))["fine"].copy()
            np.testing.assert_array_equal(backend.infer(self.inputs(coarse))["fine"], first)

    def test_read_only_and_strided_inputs_are_taken(self, artifact: Artifact) -> None:
        coarse = self.coarse(artifact, (2, 2, 6, 5))
        view = np.stack([coarse, coarse], axis=-1)[..., 0]
        view.flags.writeable = False
        with self.opened(artifact) as backend:
            fine = backend.infer(self.inputs(view))["fine"]
            np.testing.assert_allclose(fine, self.truth(coarse), rtol=0, atol=2e-5)

    def test_inference_before_activation_is_refused(self, artifact: Artifact) -> None:
        backend = self.opened(artifact)
        with pytest.raises(BackendNotActive):
            backend.infer(self.inputs(self.coarse(artifact, (1, 1, 2, 2))))

    def test_inference_after_deactivation_is_refused(self, artifact: Artifact) -> None:
        with self.opened(artifact) as backend:
            pass
        backend.deactivate()
        with pytest.raises(BackendNotActive):
            backend.infer(self.inputs(self.coarse(artifact, (1, 1, 2, 2))))

    def test_a_backend_can_be_activated_again(self, artifact: Artifact) -> None:
        backend = self.opened(artifact)
        coarse = self.coarse(artifact, (1, 1, 2, 2))
        for _ in range(2):
            with backend:
                backend.activate()
                np.testing.assert_allclose(
                    backend.infer(self.inputs(coarse))["fine"], self.truth(coarse), rtol=0, atol=2e-5
                )

    def test_it_says_what_computes(self, artifact: Artifact) -> None:
        with self.opened(artifact) as backend:
            assert (backend.name, backend.provider, backend.precision) == (self.name, self.provider, "fp32")

    @pytest.mark.parametrize("spoil", ["dtype", "rank", "channels", "no core", "missing", "unknown"])
    def test_inputs_the_contract_does_not_promise_are_refused(self, artifact: Artifact, spoil: str) -> None:
        coarse = self.coarse(artifact, (1, 2, 4, 4))
        halo = artifact.contract.halo
        inputs = {
            "dtype": self.inputs(coarse.astype(np.float64)),
            "rank": self.inputs(coarse[0]),
            "channels": self.inputs(np.concatenate([coarse, coarse], axis=2)),
            "no core": self.inputs(coarse[:, :, :, : halo.north + halo.south]),
            "missing": {},
            "unknown": self.inputs(coarse) | {"theta": coarse},
        }[spoil]
        with self.opened(artifact) as backend, pytest.raises(ShapeMismatch):
            backend.infer(inputs)

    def test_another_precision_than_the_graph_s_is_refused(self, artifact: Artifact) -> None:
        with pytest.raises(UsageError, match="--precision bf16"):
            self.opened(artifact, precision="bf16")

    def test_no_threads_at_all_are_refused(self, artifact: Artifact) -> None:
        with pytest.raises(UsageError):
            self.opened(artifact, threads=0)


class GraphSuite(BackendSuite):
    """What an engine that runs the graph must do besides."""

    def test_a_graph_that_breaks_its_promise_is_found_out(self, tmp_path: Path) -> None:
        artifact = Artifact.open(make_repeat_artifact(tmp_path / "liar", scale_factor=3))
        with pytest.raises(BackendFailed), self.opened(artifact) as backend:
            backend.infer(self.inputs(self.coarse(artifact, (1, 1, 2, 2))))
