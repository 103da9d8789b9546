"""One real report for all tests that look at it."""

from pathlib import Path

import pytest

from gfs_sr.evaluation.evaluate import Settings, run
from gfs_sr.evaluation.result import Evaluation

SAMPLE = Path(__file__).resolve().parents[2] / "gfs_sr" / "demo" / "sample"
ARPEGE = SAMPLE / "arpege_2m_NW_20180501000000.grib"


@pytest.fixture(scope="session")
def real_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """The bundled default model on a day that no training saw: what was found, and the folder of the report."""
    import warnings

    folder = tmp_path_factory.mktemp("report")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the manifest states where the model loses
        return run(Settings((ARPEGE,), variables=("t2m", "r2"), output=folder)), folder
