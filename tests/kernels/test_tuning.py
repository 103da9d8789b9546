"""The tuning table: every kernel, every precision, and what an unknown architecture gets."""

import pytest

from gfs_sr.kernels.launch import PRECISIONS, as_json, padded, table, tuning
from tests.kernels.specimens import SHAPES


def test_every_architecture_has_every_kernel_in_every_precision():
    for kernels in table().values():
        assert set(kernels) == set(SHAPES)
        for rows in kernels.values():
            assert tuple(rows) == PRECISIONS


def test_an_architecture_without_a_row_takes_the_nearest_older_one():
    assert tuning("conv_shuffle", "bf16", "sm_89") == tuning("conv_shuffle", "bf16", "sm_80")
    assert tuning("conv_shuffle", "bf16", "sm_120") == tuning("conv_shuffle", "bf16", "sm_100")
    assert tuning("conv_shuffle", "bf16", "sm_75") == tuning("conv_shuffle", "bf16", "sm_80")


def test_what_a_tuning_run_writes_is_read_back(tmp_path, monkeypatch):
    path = tmp_path / "tuning.json"
    path.write_text(as_json(table()))
    before = table()
    monkeypatch.setattr("gfs_sr.kernels.launch.TABLE", path)
    table.cache_clear()
    assert table() == before
    table.cache_clear()


@pytest.mark.parametrize(("size", "holds"), [(1, 16), (16, 16), (17, 32), (48, 64), (64, 64)])
def test_sizes_are_padded_to_powers_of_two(size, holds):
    assert padded(size) == holds
