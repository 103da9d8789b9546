"""Terrain as a network learns from it is terrain as it is given when it runs, in every family that takes any."""

from dataclasses import replace

import numpy as np
import pytest

from gfs_sr import models
from gfs_sr.contract import Contract
from gfs_sr.data.grid import Grid, Registration
from gfs_sr.models.receptive_field import Reach
from gfs_sr.runtime.statics import static_inputs
from gfs_sr.training.field_set import FieldSet
from gfs_sr.training.samples import Sampler, StreamConfig, Task
from gfs_sr.training.windows import generator

ROWS, COLUMNS = 4, 5  # coarse cells
STATICS = ["orog", "lsm"]
UNET = {"statics": STATICS, "width": 8, "multipliers": [1], "factors": [], "attention": "none", "blocks": 1}
TAKING = {
    "fused": {"family": "fused", "width": 4, "blocks": 1},
    "fused by cell": {"family": "fused", "registration": "cell", "width": 4, "blocks": 1},
    "unet": {"family": "unet", "variables": ["t2m"], "scale_factor": 4, **UNET},
    "unet by cell": {"family": "unet", "variables": ["t2m"], "scale_factor": 4, "registration": "cell", **UNET},
    "gan": {"family": "gan", "variables": ["t2m"], "scale_factor": 4, "latent": "cells", **UNET},
    "edm": {"family": "edm", "variables": ["t2m"], "scale_factor": 4, **UNET},
    "edm, shared": {"family": "edm", "variables": ["t2m"], "shared": True, "scale_factor": 4, **UNET, "statics": []},
    "dl4ds": {"family": "dl4ds", "variables": ["t2m"], "scale_factor": 4, "statics": STATICS, "n_filters": 4},
    "temdeep": {"family": "temdeep", "variables": ["t2m"], "time_factor": 2},
    "temdeep_narrow": {"family": "temdeep_narrow", "time_factor": 2, "width": 4},
    "geodiff": {"family": "geodiff", "width": 4, "multipliers": [1], "heads": 2, "head_width": 4, "stem": 3},
}  # fmt: skip


def ground(contract: Contract) -> FieldSet:
    """Weather of no meaning above hills and a coast, on a grid that starts and ends with whole coarse cells."""
    s, rng = contract.scale_factor, np.random.default_rng(0)
    rows, columns = s * ROWS, s * COLUMNS
    lat, lon = 50 - 0.25 * np.arange(rows), 5 + 0.25 * np.arange(columns)
    height = (800 + 300 * rng.standard_normal((rows, columns))).astype(np.float32)
    times = np.datetime64("2024-01-01", "ns") + np.arange(13) * np.timedelta64(1, "h")
    values = (280 + rng.standard_normal((len(contract.inputs), 13, rows, columns))).astype(np.float32)
    return FieldSet("x-0", "x", contract.inputs, values, times, lat, lon,
                    _statics={"orog": height, "lsm": (height > 700).astype(np.float32)})  # fmt: skip


@pytest.mark.parametrize("config", TAKING.values(), ids=TAKING)
def test_statics_of_a_sample_are_those_that_the_runtime_gives(config):
    contract = models.build(config).make_contract(name="x")
    fields, s = ground(contract), contract.scale_factor
    kind = "space" if s > 1 else "time"
    stream = StreamConfig(kind=kind, patch=ROWS, patch_columns=COLUMNS, time_factors={contract.time_factor: 1.0})
    task = replace(Task.of(contract, Reach()), is_bound=True)  # samples start with the first cell
    sample = Sampler([fields], task, stream).draw(generator(0, 0), augment=False)
    shift = (s - 1) / 2 if contract.registration is Registration.CELL else 0.0
    coarse = Grid(fields.lat[0] - 0.25 * (s * np.arange(ROWS) + shift),
                  fields.lon[0] + 0.25 * (s * np.arange(COLUMNS) + shift))  # fmt: skip
    given = ({name: fields.static(name) for name in STATICS}, Grid(fields.lat, fields.lon))
    served = static_inputs(contract, coarse, given)
    assert served
    for name, field in served.items():
        np.testing.assert_allclose(sample[name][0], field, rtol=0, atol=2e-4, err_msg=name)
