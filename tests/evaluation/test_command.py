"""`gfs-sr evaluate` as it is typed."""

import csv
import json

import pytest
from typer.testing import CliRunner

from gfs_sr.cli.app import app
from tests.evaluation.test_evaluate import write_fine
from tests.interpolating_artifact import interpolation_contract, make_interpolation_artifact


@pytest.fixture
def run(tmp_path):
    def command(*options):
        result = CliRunner().invoke(app, ["evaluate", *map(str, options), "-o", str(tmp_path / "report"), "--json"])
        return result.exit_code, json.loads(result.stdout.splitlines()[-1])

    return command


@pytest.fixture
def fine(tmp_path):
    return write_fine(tmp_path / "fine.nc", variables=("t2m", "d2m"))


@pytest.fixture
def model(tmp_path):
    return make_interpolation_artifact(tmp_path / "artifact")


def test_the_report_s_folder_is_written_and_the_numbers_are_printed(run, fine, model, tmp_path):
    other = make_interpolation_artifact(tmp_path / "other", interpolation_contract(name="other"))
    code, found = run(
        "--data", fine, "--model", model, "--model", other, "--variables", "t2m", "--region", "west=50,5,43,9",
        "--hours", "0,12", "--metrics", "SSIM,FSS,seam ratio", "--no-terrain", "--tile", 3, "--sharpening", 0.1,
    )  # fmt: skip
    assert code == 0
    assert sorted(found["models"]) == ["other", "test-interpolation"]
    assert {line["variable"] for line in found["lines"]} == {"t2m"}
    assert {line["lead_class"] for line in found["lines"]} == {"interpolated"}
    assert {line["region"] for line in found["regions"]} == {"west"}
    assert found["settings"]["sharpening of the baselines"] == "a = 0.1"
    assert {"metrics.json", "metrics.csv", "index.html"} <= {path.name for path in (tmp_path / "report").iterdir()}
    with (tmp_path / "report" / "metrics.csv").open() as file:
        assert {row["metric"] for row in csv.DictReader(file)} >= {"RMSE", "skill", "SSIM", "FSS", "seam ratio"}


@pytest.mark.parametrize(
    ("options", "error", "exit_code"),
    [
        (("--region", "50,5,43,9"), "UsageError", 2),
        (("--hours", "12"), "UsageError", 2),
        (("--hours", "40,48"), "NothingToUpscale", 3),
        (("--example-hours", "noon"), "UsageError", 2),
        (("--variables", "msl"), "MissingVariable", 3),
        (("--coarse", "absent.nc"), "MissingFile", 3),
        (("--protocol", "C"), "UsageError", 2),
        (("--metrics", "RSME"), "UsageError", 2),
    ],
)
def test_what_cannot_be_is_refused_with_its_exit_code(run, fine, model, options, error, exit_code):
    code, found = run("--data", fine, "--model", model, *options)
    assert (code, found["error"]["class"]) == (exit_code, error)
    assert found["error"]["mend"]
