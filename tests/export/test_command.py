"""How the exporters end."""

import json

import pytest

from export.command import finish
from gfs_sr.errors import ParityFailed


def refuse() -> dict[str, object]:
    raise ParityFailed("t2m by 3 K", "c.ckpt", "report the model")


def test_facts_are_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(lambda: {"output": "a", "parity": [{"variable": "t2m", "max_abs": 0.5}]}, as_json=False) == 0
    assert capsys.readouterr().out == "output: a\nparity:\n  variable t2m  max_abs 0.5\n"


def test_facts_are_one_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(lambda: {"output": "a"}, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"output": "a"}


def test_an_error_is_one_block_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(refuse, as_json=False) == 4
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ParityFailed: t2m by 3 K\n  where: c.ckpt\n  mend:  report the model\n")


def test_an_error_is_one_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(refuse, as_json=True) == 4
    assert json.loads(capsys.readouterr().out) == {
        "error": {
            "class": "ParityFailed",
            "what": "t2m by 3 K",
            "where": "c.ckpt",
            "mend": "report the model",
            "exit_code": 4,
        }
    }


def test_control_c_is_exit_code_6(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> dict[str, object]:
        raise KeyboardInterrupt

    assert finish(interrupted, as_json=False) == 6
    assert "Interrupted: stopped" in capsys.readouterr().err
