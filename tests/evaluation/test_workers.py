"""Forecasts scored on the workers of a real Dask cluster."""

import warnings

import numpy as np
import pytest

from gfs_sr.errors import UsageError
from gfs_sr.evaluation.evaluate import Settings, run
from tests.evaluation.test_evaluate import write_fine
from tests.interpolating_artifact import make_interpolation_artifact

distributed = pytest.importorskip("dask.distributed")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the cluster's own sockets, closed late
def test_many_forecasts_score_alike_in_one_process_and_on_workers(tmp_path):
    paths = tuple(write_fine(tmp_path / f"{day}.nc", seed=day, start=f"2021-03-0{day}T00", frames=14) for day in (1, 2))
    model = make_interpolation_artifact(tmp_path / "artifact")
    settings = Settings(paths, models=(str(model),), output=None, metrics=("SSIM", "FSS"), by_terrain=False)
    alone = run(settings)
    with (
        warnings.catch_warnings(),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        shared = run(Settings(**(vars(settings) | {"dask": cluster.scheduler_address})))
    assert [case.case for case in shared.cases] == [case.case for case in alone.cases]
    assert len(shared.scores()) == len(alone.scores())
    for one, other in zip(shared.scores(), alone.scores(), strict=True):
        assert (one.method, one.metric, one.baseline, one.lead_class) == (
            other.method, other.metric, other.baseline, other.lead_class,
        )  # fmt: skip
        np.testing.assert_array_equal([one.value, one.ci_low, one.ci_high], [other.value, other.ci_low, other.ci_high])
    assert len(shared.fields) == len(alone.fields) > 0
    assert shared.warnings == alone.warnings


def test_protocol_a_stays_in_one_process(tmp_path):
    path = write_fine(tmp_path / "fine.nc")
    model = make_interpolation_artifact(tmp_path / "artifact")
    with pytest.raises(UsageError, match="in one process"):
        run(Settings((path,), models=(str(model),), output=None, protocol="A", dask="local"))
