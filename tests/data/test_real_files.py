"""Every large real file: it opens as what it is, or is refused for what it is."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfs_sr.data.sources import open_forecast, open_statics, open_tensors
from gfs_sr.errors import (
    AllMissing,
    AmbiguousField,
    GapInLeadTimes,
    InputError,
    MissingVariable,
    UnreadableFile,
    UnsupportedGrid,
    ValuesOutOfBounds,
)

# path: (variables, or how many; frames, rows, columns; rows stored south to north; west end of the longitudes)
OPENS: dict[str, tuple[str, int, int, int, bool, int]] = {
    "grib/cfgrib/alternate-scanning.grib": ("t2m", 1, 171, 291, False, -180),
    "grib/cfgrib/fields_with_missing_values.grib": ("t2m", 2, 91, 180, False, 0),
    "grib/cfgrib/multi_param_on_multi_dims.grib": ("12", 4, 37, 72, False, 0),
    "grib/cfgrib/regular_ll_msl.grib": ("msl", 1, 181, 360, False, 0),
    "grib/cfgrib/regular_ll_wrong_increment.grib": ("t2m", 1, 37, 72, False, 0),
    "grib/cfgrib/t_on_different_level_types.grib": ("t@100", 1, 37, 72, False, 0),
    "grib/cfgrib/uv_on_different_levels.grib": (
        "u@1000 u@850 u@700 u@500 u@400 v@1000 v@700 v@500",
        2,
        37,
        72,
        False,
        0,
    ),
    "grib/cmc_glb_0p24_t.grib2": ("t@1", 1, 751, 1500, True, -180),
    "grib/ecmwf_2t_0p1_uk_ensmean_20240101.grib1": ("t2m wspd msl", 2, 141, 151, False, -180),
    "grib/ecmwf_ifs_2t_msl_ccsds_20250115_18z_f24.grib2": ("t2m msl", 1, 721, 1440, False, -180),
    "grib/gdps_2t_0p15_SN_jpeg_20260602.grib2": ("t2m", 1, 1201, 2400, True, 0),
    "grib/gfs_0p25_poland_all_20200829_06z_f000.grib2": ("189", 1, 33, 49, True, 0),
    "grib/gfs_0p25_uv10_20210604_12z_f000.grib2": ("u10 v10", 1, 721, 1440, False, 0),
    "grib/gfs_1p00_10u_20210509_06z_f000.grib2": ("u10", 1, 181, 360, False, 0),
    "grib/global_2t_0p75.grib1": ("t2m", 1, 241, 480, False, 0),
    "grib/global_2t_1deg_3steps.grib1": ("t2m", 3, 181, 360, False, 0),
    "grib/ukmo_global_t2m_india_20241120.grib2": ("t2m", 1, 309, 214, True, 0),
    "netcdf/era5_0p25_global_temperature_20230110.nc": ("t@850", 1, 721, 1440, False, 0),
    "netcdf/era5_2mt_europe_packed.nc": ("t2m", 1, 261, 321, False, -180),
    "netcdf/era5_expver_pl_6hourly_krakatau_2021.nc": ("74", 1020, 3, 3, False, 0),
    "netcdf/era5_samerica_wind10_100_20230201.nc": ("u10 v10", 1, 165, 173, False, -180),
    "odd/grib2_named_data.nc": ("t2m", 1, 721, 1440, False, -180),
    "pressure/era5_europe_pl_6hourly_20200701-03.nc": ("20", 12, 21, 31, False, -180),
    "pressure/era5_marmara_pl_hourly_20210215.nc": ("12", 16, 21, 57, False, 0),
    "pressure/era5_marmara_sfc_hourly_20210215.nc": ("t2m u10 v10", 16, 21, 57, False, 0),
    "pressure/gfs_2p5_20111008_00z_f072.grib2": ("157", 1, 73, 144, False, 0),
    "series/ecmwf_ifs_0p25_northsea_20260420_00z.grib2": ("t2m u10 v10 sp msl", 9, 80, 80, True, -180),
    "series/era5_berlin_sfc_hourly_2017.nc": ("t2m u10 v10 sp", 8760, 2, 3, False, 0),
    "series/era5_davos_pl_hourly_202001.nc": ("36", 744, 4, 5, False, 0),
    "series/era5_finse_sfc_hourly_201810.nc": ("t2m d2m sp tp", 744, 7, 10, False, 0),
    "series/era5_germany_u10v10_hourly_20251104.nc": ("u10 v10", 24, 32, 37, False, 0),
    "series/era5_italy_t2m_3hourly_20220501-0610.nc": ("t2m", 328, 43, 48, False, 0),
    "series/era5_morocco_t2m_daily12z_20240101-0930.nc": ("t2m", 274, 61, 65, False, -180),
    "series/era5_telangana_hourly_20230901-04.nc": ("d2m u10 v10 sp tp", 96, 21, 21, False, 0),
    "series/era5_telangana_tp_hourly_20230601-0731.nc": ("tp", 1464, 21, 21, False, 0),
    "series/era5_uk_t2m_hourly_20190301-20.grib": ("t2m", 480, 33, 49, False, -180),
    "series/meteonet_nw/arome_PRECIP_NW_20180501000000.grib": ("tp", 24, 227, 315, False, -180),
    "series/meteonet_nw/arome_P_sea_level_NW_20180501000000.grib": ("msl", 25, 227, 315, False, -180),
    "series/meteonet_nw/arpege_10m_NW_20180501000000.grib": ("u10 v10 wspd", 25, 58, 80, False, -180),
    "series/meteonet_nw/arpege_2m_NW_20180501000000.grib": ("t2m d2m r2", 25, 58, 80, False, -180),
    "series/meteonet_nw/arpege_PRECIP_NW_20180501000000.grib": ("tp", 24, 58, 80, False, -180),
    "series/meteonet_nw/arpege_P_sea_level_NW_20180501000000.grib": ("msl", 25, 58, 80, False, -180),
    "series/wfde5_uk_201701/air_temperature_01-20.nc": ("t2m", 480, 20, 28, True, -180),
    "series/wfde5_uk_201701/precipitation_flux_01-20.nc": ("tp", 480, 20, 28, True, -180),
    "series/wfde5_uk_201701/wind_speed_01-20.nc": ("wspd", 480, 20, 28, True, -180),
}

REFUSED: dict[type[InputError], str] = {
    MissingVariable: """
        grib/aqm_alaska_polar.grib2
        grib/aqm_hawaii_mercator.grib2
        grib/arome_tcdc.grib2
        grib/cfgrib/cfrzr_and_cprat.grib
        grib/cfgrib/lambert_grid.grib
        grib/cfgrib/regular_gg_ml_g2.grib
        grib/cfgrib/scanning_mode_64.grib
        grib/ecmwf_ifs_oper_sfc_ccsds_20260310.grib2
        grib/ecmwf_soil_8vars_tiny.grib1
        grib/gdas_sflux_gaussian_f000_msg0.grib2
        grib/gfs_0p25_pv_tmp_missing.grib2
        grib/gfs_1p00_dswrf_dlwrf_20250129_06z_f027.grib2
        grib/gfs_1p00_tcc_20250129_00z_f006.grib2
        grib/gfswave_0p16_atlocn_f001.grib2
        grib/hrrr_skin_t_20230722_06z_f01.grib2
        grib/hrrr_subhourly_15min.grib2
        grib/hrrr_template8.grib2
        grib/ncv_ceiling_png.grib2
        grib/reduced_ll_swh.grib2
        grib/s2s_pdt9_10_12.grib2
        grib/safrica_25leads_polar_jpeg.grib2
        netcdf/arome_metcoop_wind10_hourly_lambert.nc
        netcdf/era5_expver_netcdf3_u100_monthly.nc
        netcdf/gfs_0p5_u10v10_global_ascending.nc
        netcdf/ncep_air_6hourly_oct2014.nc
        series/meteonet_nw/NW_masks.grib
        series/meteonet_nw/arpege_3D_height_NW_20180501000000.grib
        series/uk_radar_15min/201811031530.nc
        series/uk_radar_15min/201811031545.nc
        series/uk_radar_15min/201811031600.nc
        series/wfde5_uk_201701/specific_humidity_01-20.nc
        series/wfde5_uk_201701/surface_downwelling_longwave_flux_in_air_01-20.nc
        static/cosmo1_switzerland_topo.nc
        series/ukv_2km_t_north.zarr
    """,
    UnreadableFile: """
        grib/cfgrib/era5-levels-corrupted.grib
    """,
    AmbiguousField: """
        grib/cfgrib/era5-levels-members.grib
        grib/cfgrib/single_gridpoint.grib
        grib/cfgrib/tp_on_different_grid_resolutions.grib
        netcdf/eraint_uvz_monthly_-180_180.nc
    """,
    AllMissing: """
        grib/cfgrib/hpa_and_pa.grib
    """,
    UnsupportedGrid: """
        grib/cfgrib/reduced_gg.grib
        grib/cfgrib/regular_gg_pl.grib
        grib/cfgrib/spherical_harmonics.grib
        grib/gaussian_2t_n320_reduced.grib1
        grib/gaussian_flux_jpeg.grib2
        grib/hrdps_rh2_rotated_jpeg.grib2
        grib/hrrr_apcp_20201214_00z_f12.grib2
        grib/hrrr_u10_20230722_06z_f01.grib2
        grib/reduced_gg_10uv_6hourly_20200101-02.grib1
        grib/rotated_ll_2t.grib1
        grib/stage4_precip_1h_20130522_10z.grib1
        grib/stage4_precip_6h_20020301_12z.grib1
        grib/wafs_thinned_quasiregular.grib2
        netcdf/harmonie_t2m_49h_16x16.nc
        netcdf/wrf_ci_test_3hourly.nc
        netcdf/wrf_t2_180x270_hourly.nc
        netcdf/wrf_t2_200x200_3hourly.nc
        pressure/arome_arctic_20180710/fc2018071000+000grib_fp.sub.grib
        pressure/nam_awp211_20041208_12z_f24.grib2
        pressure/nam_awp211_20070124_f12_jpeg.grib2
        series/mogreps_uk_2km/20170602_t2m_12members.nc
        series/mogreps_uk_2km/20170602_ws10_12members.nc
        series/mogreps_uk_2km/20170603_t2m_12members.nc
        series/mogreps_uk_2km/20170603_ws10_12members.nc
        static/cosmo7_FRLAND_0.11deg.nc
        static/cosmo7_HSURF_0.11deg.nc
    """,
    ValuesOutOfBounds: """
        grib/cfgrib/step_60m.grib
        grib/cfgrib/t_analysis_and_fc_0.grib
    """,
    GapInLeadTimes: """
        netcdf/mslp_0p4_global_4times.nc
        odd/era5_bengal_u10v10_irregular_202505.nc
    """,
}
ERRORS = {path: error for error, paths in REFUSED.items() for path in paths.split()}


@pytest.mark.parametrize("path", OPENS)
def test_a_usable_file_opens_as_what_it_is(shared_data, path):
    variables, *shape, ascending, longitudes_from = OPENS[path]
    forecast = open_forecast(shared_data / path)
    found = " ".join(forecast.variables) if not variables.isdigit() else str(len(forecast.variables))
    assert found == variables
    assert [len(forecast.times), *forecast.grid.shape] == shape
    assert forecast.layout.lat_ascending is ascending
    assert forecast.layout.longitudes_from == longitudes_from
    assert np.isfinite(forecast.select(forecast.variables[:2]).frame(-1)).any()


@pytest.mark.parametrize("path", ERRORS)
def test_an_unusable_file_is_refused_for_what_it_is(shared_data, path):
    with pytest.raises(ERRORS[path]) as caught:
        open_forecast(shared_data / path).frame(0)
    assert type(caught.value) is ERRORS[path]
    assert Path(path).name in caught.value.where


def test_no_file_is_left_out(shared_data):
    files = {
        str(path.relative_to(shared_data))
        for path in shared_data.rglob("*")
        if path.is_file() and ".zarr" not in str(path) and path.suffix != ".md"
    }
    files = {path for path in files if "arome_arctic" not in path or "+000" in path}  # ten leads of one kind
    assert files == {path for path in (*OPENS, *ERRORS) if not path.endswith(".zarr")}


@pytest.mark.parametrize(
    ("path", "name", "cfgrib_name"),
    [
        ("series/ecmwf_ifs_0p25_northsea_20260420_00z.grib2", "sp", "sp"),
        ("grib/ukmo_global_t2m_india_20241120.grib2", "t2m", "t2m"),
        ("series/meteonet_nw/arpege_P_sea_level_NW_20180501000000.grib", "msl", "msl"),
    ],
)
def test_values_and_rows_are_those_of_another_reader(shared_data, path, name, cfgrib_name):
    keys = {"shortName": "2t" if name == "t2m" else name}
    with xr.open_dataset(shared_data / path, engine="cfgrib", filter_by_keys=keys, indexpath="") as dataset:
        truth = dataset[cfgrib_name].sortby("latitude", ascending=False)
        frame = open_forecast(shared_data / path, [name]).frame(-1)[0]
        np.testing.assert_array_equal(frame, truth.values if truth.ndim == 2 else truth.values[-1])


def test_alternating_rows_are_put_right(shared_data):
    field = open_forecast(shared_data / "grib/cfgrib/alternate-scanning.grib").frame(0)[0]
    # a reversed row would differ from its neighbor by the field's whole range
    assert np.abs(np.diff(field, axis=0)).mean() < 0.1 * field.std()


def test_second_fields_of_a_message_are_found(shared_data):
    forecast = open_forecast(shared_data / "pressure/gfs_2p5_20111008_00z_f072.grib2")
    levels = {
        base: {name.partition("@")[2] for name in forecast.variables if name.startswith(base)} for base in ("u@", "v@")
    }
    assert len(levels["u@"]) == 26
    assert levels["u@"] == levels["v@"]


def test_a_frame_that_occurs_twice_and_an_empty_accumulation_do_no_harm(shared_data):
    path = shared_data / "series/ecmwf_ifs_0p25_northsea_20260420_00z.grib2"
    forecast = open_forecast(path, ["tp"])
    np.testing.assert_allclose(forecast.times.lead_hours, np.arange(3, 25, 3))
    assert forecast.grid.lon[0] == -10.0
    assert any("occurs twice with equal values" in note for note in forecast.warnings)


def test_buckets_add_up_to_the_total(shared_data):
    path = shared_data / "series/meteonet_nw/arpege_PRECIP_NW_20180501000000.grib"
    with xr.open_dataset(path, engine="cfgrib", indexpath="") as dataset:
        total = dataset.tp.values[-1]
    np.testing.assert_allclose(open_forecast(path).load().sum(axis=0)[0], total, atol=1e-4)  # 24 sums in float32


def test_files_of_one_run_join_by_variable(shared_data):
    paths = sorted((shared_data / "series/meteonet_nw").glob("arpege_*m_NW*.grib"))
    forecast = open_forecast([*paths, shared_data / "series/meteonet_nw/arpege_P_sea_level_NW_20180501000000.grib"])
    assert forecast.variables == ("t2m", "d2m", "r2", "u10", "v10", "wspd", "msl")
    assert len(forecast.times) == 25


def test_a_nonsense_date_does_not_hinder_static_fields(shared_data):
    statics, grid = open_statics(shared_data / "series/meteonet_nw/NW_masks.grib", ["lsm", "orog"])
    assert grid.shape == (227, 315)
    assert 0 <= statics["lsm"].min() <= statics["lsm"].max() <= 1


def test_another_field_under_the_name_is_told(shared_data):
    records = open_tensors(shared_data / "series/ukv_2km_t_north.zarr", ["t"])
    renamed = [record.values for record in records]
    wrong = [str(record.valid_times[0])[8:13] for record in records if np.nanmax(record.values) <= 100]
    assert len(renamed) == 9
    assert wrong == ["01T00", "01T06", "01T15"]


def test_projected_fields_come_as_tensors(shared_data):
    paths = sorted((shared_data / "pressure/arome_arctic_20180710").glob("*.grib"))
    records = {record.variable: record for record in open_tensors(paths[:3], ["t2m", "q_2m", "t@850"])}
    for record in records.values():
        assert record.values.shape == (3, 100, 100)
        assert record.lat is not None
        assert record.lat[0].mean() > record.lat[-1].mean()
        assert record.is_plausible
        assert not record.is_regular
    assert set(records) == {"t2m", "q_2m", "t@850"}


def test_members_come_as_tensors_of_their_own(shared_data):
    records = open_tensors(shared_data / "series/mogreps_uk_2km/20170602_t2m_12members.nc")
    assert [record.variable for record in records] == ["t2m"] * 12
    assert len({record.values.mean() for record in records}) == 12


def test_both_accumulations_of_hrrr_come_as_tensors_of_their_own(shared_data):
    hour, half_day = open_tensors([shared_data / "grib/hrrr_apcp_20201214_00z_f12.grib2"])
    assert (hour.variable, half_day.variable) == ("tp", "tp")
    assert hour.values.shape == half_day.values.shape == (1, 1059, 1799)
    assert (half_day.values >= hour.values - 0.01).all()  # the last of the twelve hours; packed in steps
