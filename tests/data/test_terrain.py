"""The bundled terrain map, judged by places everybody knows and by another model's orography."""

from pathlib import Path

import numpy as np
import pytest

from gfs_sr.data.sources import open_statics
from gfs_sr.data.terrain import terrain, terrain_on

PLACES = {  # lat, lon -> least and greatest height of a 0.25 degree cell, least and greatest share of land
    "Tibetan plateau": (33.0, 88.0, 4500, 5500, 1.0, 1.0),
    "central Pacific": (0.0, -150.0, -5, 5, 0.0, 0.15),
    "Mont Blanc": (45.83, 6.86, 1500, 3500, 1.0, 1.0),
    "Netherlands": (52.2, 5.0, -10, 20, 0.0, 1.0),
    "South Pole": (-90.0, 0.0, 2600, 3000, 1.0, 1.0),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_known_places_have_their_height(place: tuple[float, ...]) -> None:
    lat, lon, low, high, least, most = place
    fields = terrain([lat], [lon], (0.25, 0.25))
    assert low <= fields["orog"][0, 0] <= high
    assert least <= fields["lsm"][0, 0] <= most


def test_longitude_conventions_agree() -> None:
    west, east = terrain([46.0], [-5.0, 7.0], (0.1, 0.1)), terrain([46.0], [355.0, 367.0], (0.1, 0.1))
    np.testing.assert_allclose(west["orog"], east["orog"], atol=1e-6)


def test_a_third_of_the_earth_is_land() -> None:
    lat, lon = np.arange(89.5, -90, -1.0), np.arange(0, 360, 1.0)
    share = terrain(lat, lon, (1.0, 1.0))["lsm"]
    # land and ice shelves cover some 30 %; sea counts as up to a tenth, since the map is in whole meters
    assert 0.27 < np.average(share.mean(axis=1), weights=np.cos(np.deg2rad(lat))) < 0.36


def test_it_agrees_with_the_orography_of_gfs(shared_data: Path) -> None:
    fields, grid = open_statics(shared_data / "grib" / "gfs_0p25_poland_all_20200829_06z_f000.grib2", ["orog", "lsm"])
    ours = terrain_on(grid)
    assert np.corrcoef(ours["orog"].ravel(), np.ravel(fields["orog"]))[0, 1] > 0.99
    assert np.abs(ours["orog"] - fields["orog"]).mean() < 25  # m; two versions of one model's terrain
    assert np.mean((ours["lsm"] > 0.5) == (np.asarray(fields["lsm"]) > 0.5)) > 0.95
