"""Makes the files of this folder from the large real ones: `python tests/golden/make_golden.py DATA_FOLDER`."""

import shutil
import sys
from pathlib import Path

import eccodes
import netCDF4
import xarray as xr

HERE = Path(__file__).resolve().parent
GFS_FIELDS = {("2t", 2), ("2d", 2), ("2r", 2), ("10u", 10), ("10v", 10), ("sp", 0), ("orog", 0), ("lsm", 0),
              ("prmsl", 0), ("mslet", 0), ("t", 850), ("w", 500), ("t", 0)}  # fmt: skip


def cut_grib(source: Path, target: Path, keep, count: int) -> None:
    """Copy the first `count` messages that `keep` takes, byte for byte."""
    with source.open("rb") as file, target.open("wb") as out:
        while count and (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            if keep(handle):
                out.write(eccodes.codes_get_message(handle))
                count -= 1
            eccodes.codes_release(handle)


def is_wanted_gfs(handle) -> bool:
    kind = eccodes.codes_get(handle, "typeOfLevel")
    named = (eccodes.codes_get(handle, "shortName"), eccodes.codes_get(handle, "level"))
    return named in GFS_FIELDS and kind in {"heightAboveGround", "surface", "meanSea", "isobaricInhPa"}


def cut_packed(source: Path, target: Path, frames: int) -> None:
    """The first frames of a NetCDF-3 file, packed integers as they are."""
    with netCDF4.Dataset(source) as old, netCDF4.Dataset(target, "w", format=old.data_model) as new:
        old.set_auto_maskandscale(False)
        new.set_auto_maskandscale(False)
        for name, dimension in old.dimensions.items():
            new.createDimension(name, frames if name == "time" else dimension.size)
        for name, variable in old.variables.items():
            attrs = {key: variable.getncattr(key) for key in variable.ncattrs()}
            copy = new.createVariable(
                name, variable.dtype, variable.dimensions, fill_value=attrs.pop("_FillValue", None)
            )
            copy.setncatts(attrs)
            copy[:] = variable[:frames] if "time" in variable.dimensions else variable[:]


def main() -> None:
    data = Path(sys.argv[1])
    cut_grib(data / "series/era5_uk_t2m_hourly_20190301-20.grib", HERE / "era5_uk_t2m.grib1", lambda handle: True, 6)
    cut_grib(data / "grib/gfs_0p25_poland_all_20200829_06z_f000.grib2", HERE / "gfs_poland.grib2", is_wanted_gfs, 20)
    cut_packed(data / "series/era5_italy_t2m_3hourly_20220501-0610.nc", HERE / "era5_italy_t2m_packed.nc", 8)
    shutil.copyfile(data / "series/era5_germany_u10v10_hourly_20251104.nc", HERE / "era5_germany_wind.nc")
    with xr.open_dataset(data / "series/era5_telangana_hourly_20230901-04.nc") as dataset:
        day = dataset.isel(valid_time=slice(0, 12)).drop_vars(["number", "expver"]).load()
    for variable in day.variables.values():
        variable.encoding = {}
    for version in (2, 3):
        day.to_zarr(HERE / f"era5_telangana_v{version}.zarr", mode="w", zarr_format=version, consolidated=version == 2)


if __name__ == "__main__":
    main()
