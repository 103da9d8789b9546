"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
# which engine `auto` takes shall not depend on the load of the machine; commands that tests start inherit it
os.environ["GFS_SR_MEASURE"] = "off"
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton's own functions are defined: before anything imports it


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of large real files, which lives beside the project and not in it."""
    folder = Path(os.environ.get("GFS_SR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("needs the large real files: set GFS_SR_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Small real files that live in the project, each described in tests/golden/README.md."""
    return ROOT / "tests" / "golden"
