"""Compiled ahead of time for three architectures, on a machine without any: no spills, tensor cores used."""

import json
import os
import subprocess
import sys

import pytest

MOST_REGISTERS = 255  # a thread has no more; what spills shows in local_bytes
REGISTER_FILE, SHARED_BYTES = 65536, {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}


@pytest.fixture(scope="module")
def usages(tmp_path_factory):
    plain = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    plain["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    done = subprocess.run([sys.executable, "-m", "export.kernels"], capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_is_compiled_for_every_architecture_in_every_precision(usages):
    cases = {(each["kernel"], each["arch"], each["dtype"]) for each in usages}
    assert len(cases) == len(usages) == 5 * 3 * 4


def test_nothing_spills(usages):
    assert [each for each in usages if each["local_bytes"]] == []


def test_a_program_fits_on_its_processor(usages):
    from gfs_sr.kernels.launch import tuning

    for each in usages:
        threads = 32 * tuning(each["kernel"], each["dtype"], each["arch"]).warps
        assert each["registers"] <= MOST_REGISTERS
        assert each["registers"] * threads <= REGISTER_FILE
        assert each["shared_bytes"] <= SHARED_BYTES[each["arch"]]


def test_matrix_products_run_on_tensor_cores(usages):
    for each in usages:
        assert each["tensor_core"] is (each["dtype"] != "ieee"), each
