import hashlib
import json

import numpy as np
import pytest
import xarray as xr

from gfs_sr.errors import MissingFile, MissingVariable, UsageError
from gfs_sr.training.field_set import SourceConfig, read_packed, read_source
from gfs_sr.training.pack import Source, main, read, read_table

FACTS = {"producer": "ECMWF", "licence": "Copernicus licence", "fold": "a"}


def source(**facts: object) -> Source:
    return Source.model_validate({"name": "a"} | FACTS | facts)


def test_a_packed_table_is_read_back_with_provenance_and_the_same_digest(tmp_path, golden):
    table = tmp_path / "table.yaml"
    table.write_text(
        "sources:\n"
        "  - {name: wind, fold: one, producer: ECMWF, licence: free, files: [era5_germany_wind.nc],"
        " variables: [u10, v10, wspd]}\n"
        "  - {name: poland, fold: two, producer: NCEP, licence: public domain, files: ['gfs_*.grib2'],"
        " variables: [t2m, '[tw]@*']}\n"
    )
    assert main(["-c", str(table), "--folder", str(golden), "-o", str(tmp_path / "set.npz")]) == 0
    sets, digest = read_packed(tmp_path / "set.npz")
    facts = json.loads((tmp_path / "set.json").read_text())
    assert facts["digest"] == digest
    assert [each.source for each in sets] == ["wind", "poland"]
    assert set(sets[1].variables) == {"t2m", "t@850", "w@500"}
    truth = xr.open_dataset(golden / "era5_germany_wind.nc")
    speed = np.hypot(truth["u10"].values, truth["v10"].values)
    packed = sets[0].values[sets[0].variables.index("wspd")]
    np.testing.assert_allclose(packed, speed, rtol=0, atol=0.51 * speed.std() / 2000)
    np.testing.assert_allclose(sets[0].lat, truth["latitude"].values)
    assert (sets[0].interval_hours, sets[0].provenance["fold"], sets[0].provenance["licence"]) == (1.0, "one", "free")
    stated = hashlib.sha256((golden / "era5_germany_wind.nc").read_bytes()).hexdigest()
    assert sets[0].provenance["files"] == f"era5_germany_wind.nc sha256:{stated}"


def test_packing_again_gives_the_same_digest(tmp_path, golden):
    row = source(files=["era5_italy_t2m_packed.nc"], variables=["t2m"])
    assert read(row, golden)[0].values.shape == (1, 8, 43, 48)
    (tmp_path / "t.yaml").write_text(
        "sources: [{name: a, fold: f, producer: p, licence: l, files: [era5_italy_t2m_packed.nc], variables: [t2m]}]"
    )
    for name in ("one.npz", "two.npz"):
        assert main(["-c", str(tmp_path / "t.yaml"), "--folder", str(golden), "-o", str(tmp_path / name)]) == 0
    assert read_packed(tmp_path / "one.npz")[1] == read_packed(tmp_path / "two.npz")[1]


def members(path):
    """Three members of one field at one time, and the same field in degrees Celsius under kelvin."""
    rng = np.random.default_rng(0)
    celsius = rng.normal(10, 5, (3, 8, 9)).astype(np.float32)
    xr.Dataset(
        {"t2m": (("realization", "latitude", "longitude"), celsius, {"units": "K"})},
        {"latitude": np.linspace(50, 43, 8), "longitude": np.linspace(0, 8, 9), "realization": [0, 1, 2],
         "time": np.datetime64("2020-01-01", "ns")},
    ).to_netcdf(path)  # fmt: skip
    return celsius


def test_members_become_frames_that_are_no_series(tmp_path):
    celsius = members(tmp_path / "members.nc")
    (fields,) = read(source(files=["members.nc"], variables=["t2m"], offset={"t2m": 273.15}), tmp_path)
    np.testing.assert_allclose(fields.values[0], celsius + 273.15, rtol=1e-6)
    assert fields.interval_hours == 0


def test_members_are_kept_apart_where_no_table_says_what_they_are(tmp_path):
    celsius = members(tmp_path / "members.nc") + 273.15
    xr.open_dataset(tmp_path / "members.nc").load().close()
    with xr.open_dataset(tmp_path / "members.nc") as dataset:
        shifted = dataset.load() + 273.15
    shifted["t2m"].attrs["units"] = "K"
    shifted.to_netcdf(tmp_path / "kelvin.nc")
    sets = read_source(SourceConfig("a", ["kelvin.nc"], ["t2m"]), tmp_path)
    found = np.stack([each.values[0, 0] for each in sets])
    np.testing.assert_allclose(found, celsius, rtol=1e-6)


def test_names_that_readers_cannot_know_are_renamed(golden):
    (fields,) = read(
        source(files=["era5_germany_wind.nc"], rename={"u10": "u", "v10": "v"}, variables=["u", "v"]), golden
    )
    assert set(fields.variables) == {"u", "v"}


@pytest.mark.parametrize(
    ("facts", "error", "said"),
    [
        ({"files": ["absent.nc"], "variables": ["t2m"]}, MissingFile, "absent.nc"),
        ({"files": ["era5_germany_wind.nc"], "variables": ["u10", "t2m"]}, MissingVariable, "t2m"),
    ],
)
def test_a_row_that_matches_nothing_is_refused(golden, facts, error, said):
    with pytest.raises(error, match=said):
        read(source(**facts), golden)


@pytest.mark.parametrize("text", ["sources: [{name: a}]", "- 3", "sources: [{", ""])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    (tmp_path / "table.yaml").write_text(text)
    with pytest.raises(UsageError, match="no table"):
        read_table(tmp_path / "table.yaml")


@pytest.mark.parametrize(("name", "folds"), [("default-data", 5), ("precipitation-data", 2)])
def test_the_committed_tables_name_every_source_once_and_files_that_exist(shared_data, name, folds):
    from pathlib import Path

    rows = read_table(Path(__file__).resolve().parents[2] / "configs" / f"{name}.yaml")
    for row in rows:
        for pattern in row.files:
            assert any(shared_data.glob(pattern)), pattern
    assert len({row.fold for row in rows}) >= folds
