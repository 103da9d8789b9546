"""Scalers: their formulas, their inverse, their JSON, what they do with missing values."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gfs_sr.contract import Contract, Halo, Scaling
from gfs_sr.data.moments import Moments
from gfs_sr.data.scalers import SCALERS, MinMaxScaler, StandardScaler, UnitRangeScaler, Units, make_scaler
from gfs_sr.data.transforms import Transform
from gfs_sr.data.variables import lookup
from gfs_sr.errors import AllMissing, InputError, UsageError, WrongUnits

RAIN = np.random.default_rng(4).gamma(0.4, 6.0, size=(7, 5, 9))
MU, SD, LOW, HIGH = RAIN.mean(), RAIN.std(), RAIN.min(), RAIN.max()
ABOVE = RAIN[RAIN > 1.0]
FORMULAS = {
    "none": lambda x: x,
    "z": lambda x: (x - MU) / (5 * SD),
    "z_no_mean": lambda x: x / (5 * SD),
    "z_threshold": lambda x: (x - ABOVE.mean()) / (5 * ABOVE.std()),
    "min_max": lambda x: 2 * (x - LOW) / (HIGH - LOW) - 1,
    "min_max_seed": lambda x: 2 * ((x - LOW) / (HIGH - LOW) - 1),
    "log": lambda x: np.log10(1 + x) / 2,
    "sqrt": lambda x: np.sqrt(x) / 15,
    "standard": lambda x: (x - MU) / SD,
    "unit_range": lambda x: (x - LOW) / (HIGH - LOW),
}
OPTIONS = {"z_threshold": {"threshold": 1.0}}


def blocks():
    yield from np.split(RAIN, [1, 4])


def test_every_scaler_has_a_formula():
    assert set(FORMULAS) == set(SCALERS)


@pytest.mark.parametrize("name", SCALERS)
def test_s004_02_each_scaler_is_its_formula_and_comes_back(name):
    units = make_scaler(name, **OPTIONS.get(name, {})).fit(blocks())
    assert_allclose(units.apply(RAIN), FORMULAS[name](RAIN), rtol=1e-12, atol=1e-13)
    assert_allclose(units.invert(units.apply(RAIN)), RAIN, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", SCALERS)
def test_s004_02_json_keeps_every_digit(name):
    units = make_scaler(name, **OPTIONS.get(name, {})).fit(blocks())
    again = Units.from_json(units.to_json())
    assert (again.transform, again.fill) == (units.transform, units.fill)
    assert_array_equal(again.apply(RAIN), units.apply(RAIN))


def test_s004_02_the_figures_of_the_seed():
    log, root = (make_scaler(name).fit([RAIN]) for name in ("log", "sqrt"))
    assert_allclose(log.apply(np.array([0.0, 9.0, 99.0])), [0, 0.5, 1], atol=1e-15)
    assert_allclose(root.apply(np.array([0.0, 225.0])), [0, 1])
    assert_allclose(make_scaler("min_max").fit([RAIN]).apply(np.array([LOW, HIGH])), [-1, 1])
    assert_allclose(make_scaler("min_max_seed").fit([RAIN]).apply(np.array([LOW, HIGH])), [-2, 0], atol=1e-15)


@pytest.mark.parametrize("name", SCALERS)
def test_s004_02_a_contract_holds_what_was_fitted(name):
    units = make_scaler(name, **OPTIONS.get(name, {})).fit(blocks())
    scaling = Scaling(mean=float(units.mean), sd=float(units.sd), transform=units.transform)
    again = Scaling.model_validate_json(scaling.model_dump_json())
    assert_array_equal(again.normalize(RAIN), units.apply(RAIN))
    assert_allclose(again.denormalize(units.apply(RAIN)), RAIN, rtol=1e-12, atol=1e-13)


def test_s003_17_missing_values_are_filled_by_policy_and_missing_again_after():
    values = np.where(RAIN > 8, np.nan, RAIN)
    missing = np.isnan(values)
    for scaler, fill in ((UnitRangeScaler(), -1), (StandardScaler(), 0)):
        units = scaler.fit([values])
        normalized = units.apply(values)
        assert (normalized[missing] == fill).all()
        assert not (normalized[~missing] == fill).any()
        assert_allclose(units.invert(normalized, missing), values, rtol=1e-12, atol=1e-13)
        # the mask is that of the data at hand, not of the data the scaler was fitted to
        other = units.apply(RAIN)
        assert np.isfinite(units.invert(other, np.isnan(RAIN))).all()
    left = MinMaxScaler().fit([values])
    assert_array_equal(np.isnan(left.apply(values)), missing)


@pytest.mark.parametrize("name", ["standard", "unit_range", "min_max", "z"])
def test_s003_17_statistics_over_chosen_axes_alone(name):
    units = make_scaler(name, axes=(0,)).fit(blocks())
    assert units.mean.shape == (1, 5, 9)
    for row, column in ((0, 0), (4, 8)):
        series = RAIN[:, row, column]
        alone = make_scaler(name).fit([series])
        assert_allclose(units.apply(RAIN)[:, row, column], alone.apply(series), rtol=1e-10, atol=1e-12)
    assert_allclose(units.invert(units.apply(RAIN)), RAIN, rtol=1e-12, atol=1e-13)
    assert_array_equal(Units.from_json(units.to_json()).apply(RAIN), units.apply(RAIN))


@pytest.mark.parametrize("name", ["log", "sqrt"])
def test_s004_25_what_is_below_the_smallest_amount_comes_back_as_none(name):
    units = make_scaler(name).fit([RAIN])
    np.testing.assert_array_equal(units.invert(np.array([-1.0, -1e-9, 0.0])), 0.0)
    assert units.apply(np.array([-1e-3, 0.0])).tolist() == [0.0, 0.0]  # what packing leaves of no rain
    assert np.isnan(units.invert(np.array([np.nan]))).all()


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(AllMissing):
        make_scaler("z").fit([np.full((2, 2), np.nan)])
    with pytest.raises(InputError, match="all training values are 4"):
        make_scaler("min_max").fit([np.full((2, 2), 4.0)])
    with pytest.raises(UsageError, match="use one of: none, z"):
        make_scaler("zscore")
    with pytest.raises(UsageError, match="no option 'threshold'"):
        make_scaler("z", threshold=1.0)
    with pytest.raises(UsageError, match="is empty"):
        MinMaxScaler(low=1, high=1).fit([RAIN])


def test_moments_of_blocks_are_those_of_all_values():
    values = np.where(RAIN > 8, np.nan, RAIN)
    streamed = Moments.of_blocks(np.array_split(values, 3))
    assert streamed.count.item() == np.isfinite(values).sum()
    assert_allclose(streamed.mean.item(), np.nanmean(values), rtol=1e-12)
    assert_allclose(streamed.sd.item(), np.nanstd(values), rtol=1e-12)
    assert (streamed.low.item(), streamed.high.item()) == (np.nanmin(values), np.nanmax(values))


def contract(**scaling):
    return Contract(
        family="interpolation", name="test", inputs=("tp",), outputs=("tp",), scale_factor=4, time_factor=1,
        registration="node", halo=Halo.symmetric(0, 2), normalization={"tp": Scaling(**scaling)},
        interval_hours=(1.0,), base="bicubic/linear",
    )  # fmt: skip


def test_a_linear_scaling_reads_as_it_always_did():
    assert contract(mean=1, sd=2).model_dump()["normalization"] == {"tp": {"mean": 1.0, "sd": 2.0}}
    held = contract(mean=0, sd=2, transform="log10_1p")
    assert Contract.model_validate_json(held.model_dump_json()) == held
    assert held.normalization["tp"].transform is Transform.LOG10_1P


def test_a_logarithm_of_what_may_be_negative_is_refused():
    row = {"t2m": Scaling(mean=0, sd=2, transform="sqrt"), "u10": Scaling(mean=0, sd=2, transform="sqrt")}
    whole = contract(mean=0, sd=1).model_dump() | {"inputs": ("u10",), "outputs": ("u10",)}
    with pytest.raises(ValueError, match="u10 has negative values"):
        Contract.model_validate(whole | {"normalization": {"u10": row["u10"]}})
    whole |= {"inputs": ("t2m",), "outputs": ("t2m",)}
    Contract.model_validate(whole | {"normalization": {"t2m": row["t2m"]}})


def test_s004_25_celsius_and_kelvin_are_one_scaling():
    celsius = np.array([-30.0, 0.0, 21.5])
    scaling = Scaling.of_units("t2m", "degC", mean=8.0, sd=12.0)
    assert_allclose(scaling.normalize(celsius + 273.15), (celsius - 8) / 12, rtol=1e-12)
    factor, offset = lookup("t2m").from_canonical("degC", "test")
    assert_allclose(scaling.denormalize((celsius - 8) / 12) * factor + offset, celsius, rtol=1e-12, atol=1e-12)
    for units, given in (("hPa", 1013.25), ("kPa", 101.325), ("Pa", 101325.0)):
        there, back = lookup("sp").to_canonical(units, "test"), lookup("sp").from_canonical(units, "test")
        assert_allclose(given * there[0] + there[1], 101325.0, rtol=1e-12)
        assert_allclose(101325.0 * back[0] + back[1], given, rtol=1e-12)
    with pytest.raises(WrongUnits):
        Scaling.of_units("t2m", "mm", mean=0, sd=1)


@pytest.mark.parametrize("transform", [Transform.LOG10_1P, Transform.SQRT])
def test_a_step_of_model_units_is_longer_where_rain_is_heavier(transform):
    scaling = Scaling(mean=0.2, sd=0.5, transform=transform)
    rain = np.array([0.0, 1.0, 50.0])
    steps = scaling.physical_step(rain, 1e-3)
    assert_allclose(scaling.normalize(rain + steps) - scaling.normalize(rain), 1e-3, rtol=1e-6)
    assert (np.diff(steps) > 0).all()
    assert_allclose(Scaling(mean=1, sd=3).physical_step(rain, 2.0), 6.0)
