import json

import pytest

from gfs_sr import models
from gfs_sr.contract import Contract
from gfs_sr.errors import UsageError
from gfs_sr.models import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_x_1_every_variant_is_built_and_carries_a_contract(variant):
    model = models.build({"family": variant.family, **variant.config})
    contract = model.make_contract(name=variant.name)
    assert Contract.model_validate_json(contract.model_dump_json()) == contract
    assert contract.family == variant.family


def test_x_1_families_lists_every_variant_with_its_price_and_reach():
    rows = models.families()
    assert [row.name for row in rows] == [variant.name for variant in VARIANTS]
    assert len({row.name for row in rows}) == len(rows)
    by_name = {row.name: row for row in rows}
    assert by_name["factorized"].parameters == 2_863_050
    assert by_name["factorized-seed"].receptive_field == "global"
    assert all(row.flops_per_fine_cell > 0 for row in rows)
    assert {row.family for row in rows} == set(models.FAMILIES)
    # what leads the seed's denoiser is one cell, but every step of it sees the whole field
    assert by_name["edm-seed"].step_field == "global"
    assert by_name["edm"].step_field.north > by_name["edm"].receptive_field.north
    assert by_name["unet"].step_field is None


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_configuration_survives_json_and_builds_the_same_network(variant):
    model = models.build({"family": variant.family, **variant.config})
    again = models.build(json.loads(json.dumps(model.config)))
    assert again.config == model.config
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"family": "factorised"}, "unknown model family"),
        ({}, "unknown model family"),
        ({"family": "factorized", "widht": 3}, "widht"),
        ({"family": "factorized", "variables": ["t2m", "t2m"]}, "once each"),
        ({"family": "factorized", "variables": ["tp"]}, "buckets"),
        ({"family": "factorized", "scale_factor": 0}, "start at 1"),
        ({"family": "factorized", "padding": "wrap"}, "wrap"),
        ({"family": "interpolation", "registration": "corner"}, "corner"),
        ({"family": "interpolation", "space": "spline"}, "spline"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(config, message):
    with pytest.raises(UsageError, match=message) as caught:
        models.build(config)
    assert caught.value.mend


def test_an_unknown_key_is_answered_with_the_nearest_one():
    with pytest.raises(UsageError) as caught:
        models.build({"family": "factorized", "residual_scal": 1.0})
    assert "'residual_scale'" in caught.value.mend
