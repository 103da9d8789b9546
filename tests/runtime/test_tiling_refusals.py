"""What gather, scatter and plans refuse, before they write anything, and what they never write to."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from gfs_sr import _core
from gfs_sr.contract import Halo
from gfs_sr.data.grid import Boundary, Grid, Registration
from gfs_sr.errors import MemoryBudgetTooSmall, ShapeMismatch, UsageError
from gfs_sr.runtime import tiling
from gfs_sr.runtime.tiling import AxisPlan, Footprint, Plan, make_plan

PLAN = Plan(AxisPlan(2, 2, 1, 1), AxisPlan(6, 4, 2, 2), AxisPlan(8, 5, 2, 2, Boundary.PERIODIC))
TILES = [0, 1, 2, 3]
TILE_SHAPE = (4, 4, 3, 8, 9)
FINE_SHAPE = (4, 4, 3, 8, 10)  # x2 in space and time


def gather_arguments():
    return {
        "frames": [np.ones((3, 6, 8), np.float32) for _ in range(2)],
        "first_frame": 0,
        "plan": PLAN,
        "time_tile": 0,
        "tiles": TILES,
        "offset": np.zeros(3, np.float32),
        "scale": np.ones(3, np.float32),
        "flip": np.zeros(3, bool),
        "out": np.full(TILE_SHAPE, 9, np.float32),
    }


def scatter_arguments():
    return {
        "fine": np.ones(FINE_SHAPE, np.float32),
        "plan": PLAN,
        "time_tile": 0,
        "tiles": TILES,
        "scale_factor": 2,
        "time_factor": 2,
        "offset": np.zeros(3, np.float32),
        "scale": np.ones(3, np.float32),
        "low": np.zeros(3, np.float32),
        "high": np.ones(3, np.float32),
        "registration": Registration.NODE,
        "mask": [np.zeros((3, 6, 8), np.uint8) for _ in range(2)],
        "out": np.full((4, 3, 12, 16), 9, np.float32),
    }


def read_only(array):
    array.flags.writeable = False
    return array


def strided(shape, dtype=np.float32):
    return np.full((*shape[:-1], 2 * shape[-1]), 9, dtype)[..., ::2]


def misaligned(shape):
    size = int(np.prod(shape)) * 4
    return np.zeros(size + 1, np.uint8)[1:].view(np.float32).reshape(shape)


FRAME = (3, 6, 8)
GATHER_FAULTS = {
    "read-only out": {"out": read_only(np.zeros(TILE_SHAPE, np.float32))},
    "float64 out": {"out": np.zeros(TILE_SHAPE)},
    "int16 out": {"out": np.zeros(TILE_SHAPE, np.int16)},
    "byte-swapped out": {"out": np.zeros(TILE_SHAPE, ">f4")},
    "strided out": {"out": strided(TILE_SHAPE)},
    "misaligned out": {"out": misaligned(TILE_SHAPE)},
    "out a tile short": {"out": np.zeros((3, *TILE_SHAPE[1:]), np.float32)},
    "out of four axes": {"out": np.zeros(TILE_SHAPE[1:], np.float32)},
    "float64 frame": {"frames": [np.ones(FRAME), np.ones(FRAME)]},
    "strided frame": {"frames": [strided(FRAME), strided(FRAME)]},
    "frames that are lists": {"frames": [[[1.0]], [[1.0]]]},
    "no frames": {"frames": []},
    "a frame of another shape": {"frames": [np.ones(FRAME, np.float32), np.ones((3, 6, 7), np.float32)]},
    "frames that miss what the tile sees": {"frames": [np.ones(FRAME, np.float32)]},
    "frames beyond the axis": {"first_frame": 1},
    "a time tile that is not there": {"time_tile": 1},
    "a tile that is not there": {"tiles": [0, 1, 2, 4]},
    "a negative tile": {"tiles": [0, 1, 2, -1]},
    "a tile given twice": {"tiles": [0, 1, 2, 2]},
    "offset of two channels": {"offset": np.zeros(2, np.float32)},
    "float64 scale": {"scale": np.ones(3)},
    "flip that is no bool": {"flip": np.zeros(3, np.uint8)},
    "fill of two channels": {"fill": np.zeros(2, np.float32)},
    "transform of two channels": {"transform": np.zeros(2, np.uint8)},
    "transform that is no code": {"transform": np.full(3, 3, np.uint8)},
}
SCATTER_FAULTS = {
    "transform that is no code": {"transform": np.full(3, 3, np.uint8)},
    "read-only out": {"out": read_only(np.zeros((4, 3, 12, 16), np.float32))},
    "float16 out": {"out": np.zeros((4, 3, 12, 16), np.float16)},
    "strided out": {"out": strided((4, 3, 12, 16))},
    "out larger than the domain": {"out": np.zeros((4, 3, 13, 16), np.float32)},
    "out that leaves the domain": {"origin": (0, 1, 0)},
    "origin before the domain": {"origin": (0, 0, -1)},
    "fine of the wrong core": {"fine": np.ones((4, 4, 3, 8, 9), np.float32)},
    "fine in float64": {"fine": np.ones(FINE_SHAPE)},
    "a mask of another shape": {"mask": [np.zeros((3, 6, 7), np.uint8)] * 2},
    "masks that miss a frame": {"mask": [np.zeros(FRAME, np.uint8)]},
    "float mask": {"mask": [np.zeros(FRAME, np.float32)] * 2},
    "a tile given twice": {"tiles": [0, 1, 1, 2]},
    "factor zero": {"scale_factor": 0},
    "bounds of two channels": {"low": np.zeros(2, np.float32)},
    "bucket of two channels": {"bucket": np.zeros(2, bool)},
}


@pytest.mark.parametrize("fault", GATHER_FAULTS.values(), ids=GATHER_FAULTS)
def test_gather_refuses(fault):
    arguments = {**gather_arguments(), **fault}
    before = arguments["out"].copy()
    with pytest.raises(ShapeMismatch):
        tiling.gather(**arguments)
    np.testing.assert_array_equal(arguments["out"], before)


@pytest.mark.parametrize("fault", SCATTER_FAULTS.values(), ids=SCATTER_FAULTS)
def test_scatter_refuses(fault):
    arguments = {**scatter_arguments(), **fault}
    before = arguments["out"].copy()
    with pytest.raises(ShapeMismatch):
        tiling.scatter(**arguments)
    np.testing.assert_array_equal(arguments["out"], before)


def test_arguments_without_a_fault_are_accepted():
    tiling.gather(**gather_arguments())
    tiling.scatter(**scatter_arguments())


def test_gather_refuses_to_write_into_its_input():
    memory = np.ones(20_000, np.float32)
    frame = memory[:144].reshape(FRAME)
    size = int(np.prod(TILE_SHAPE))
    arguments = {**gather_arguments(), "frames": [frame, frame.copy()]}
    with pytest.raises(ShapeMismatch, match="share memory"):
        tiling.gather(**{**arguments, "out": memory[143 : 143 + size].reshape(TILE_SHAPE)})
    tiling.gather(**{**arguments, "out": memory[144 : 144 + size].reshape(TILE_SHAPE)})


def test_scatter_refuses_to_write_into_its_input():
    memory = np.ones(20_000, np.float32)
    fine = memory[: int(np.prod(FINE_SHAPE))].reshape(FINE_SHAPE)
    out = memory[100 : 100 + 4 * 3 * 12 * 16].reshape(4, 3, 12, 16)
    with pytest.raises(ShapeMismatch, match="share memory"):
        tiling.scatter(**{**scatter_arguments(), "fine": fine, "out": out})


def test_filling_refuses_what_is_no_frame():
    for frame in (np.ones((2, 3), np.float32), np.ones((1, 2, 3)), strided((1, 2, 3))):
        with pytest.raises(ShapeMismatch):
            tiling.fill_nearest(frame, False)


@pytest.mark.parametrize("threads", [1, 3])
def test_nothing_is_written_outside_the_buffer(threads):
    for arguments, name, call in (
        (gather_arguments(), "out", tiling.gather),
        (scatter_arguments(), "out", tiling.scatter),
    ):
        shape = arguments[name].shape
        guarded = np.full(arguments[name].size + 2000, -77, np.float32)
        arguments[name] = guarded[1000:-1000].reshape(shape)
        call(**arguments, threads=threads)
        assert (guarded[:1000] == -77).all()
        assert (guarded[-1000:] == -77).all()
        assert (guarded[1000:-1000] != -77).all()


def test_cells_of_no_given_tile_are_left_alone():
    arguments = {**scatter_arguments(), "tiles": [1], "fine": np.ones((1, *FINE_SHAPE[1:]), np.float32)}
    tiling.scatter(**arguments)
    out = arguments["out"]
    assert (out[:, :, :8, 10:] == 1).all()
    assert (out[:, :, 8:] == 9).all()
    assert (out[:, :, :, :10] == 9).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: AxisPlan(0, 1, 0, 0),
        lambda: AxisPlan(4, 0, 0, 0),
        lambda: AxisPlan(4, 1, -1, 0),
        lambda: AxisPlan(4, 2**40, 0, 0),
        lambda: AxisPlan(4, 1, 0, 0, Boundary.EDGE, (0, None)),
        lambda: AxisPlan(4, 1, 0, 0, Boundary.POLE, (2, None)),
        lambda: AxisPlan(1, 1, 0, 0, Boundary.POLE, (0, 0)),
        lambda: Plan(AxisPlan(4, 1, 0, 0, Boundary.PERIODIC), AxisPlan(4, 1, 0, 0), AxisPlan(4, 1, 0, 0)),
        lambda: Plan(AxisPlan(4, 1, 0, 0), AxisPlan(4, 1, 0, 0, Boundary.PERIODIC), AxisPlan(4, 1, 0, 0)),
        lambda: Plan(AxisPlan(4, 1, 0, 0), AxisPlan(4, 1, 0, 0), AxisPlan(4, 1, 0, 0, Boundary.POLE)),
        lambda: Plan(AxisPlan(4, 1, 0, 0), AxisPlan(4, 1, 0, 0, Boundary.POLE), AxisPlan(4, 1, 0, 0)),
        lambda: Plan(
            AxisPlan(4, 1, 0, 0), AxisPlan(4, 1, 0, 0, Boundary.POLE), AxisPlan(5, 1, 0, 0, Boundary.PERIODIC)
        ),
    ],
)
def test_plans_that_cannot_be_are_refused(make):
    with pytest.raises(UsageError):
        make()


GLOBAL = Grid.from_axes(np.linspace(90, -90, 181), np.arange(360.0), "test")
REGION = Grid.from_axes(np.linspace(60, 40, 81), np.linspace(0, 30, 121), "test")
FOOTPRINT = Footprint(channels=5, scale_factor=6, time_factor=6)


@pytest.mark.parametrize("memory", [100 * 2**20, 500 * 2**20, 4 * 2**30])
def test_a_plan_stays_within_its_budget_and_uses_it(memory):
    plan = make_plan(GLOBAL, 40, Halo.symmetric(2, 12), FOOTPRINT, memory_bytes=memory)
    assert memory / 4 < FOOTPRINT.memory_bytes(plan) <= memory


def test_more_memory_never_means_more_work():
    def work(memory):
        plan = make_plan(GLOBAL, 40, Halo.symmetric(2, 12), FOOTPRINT, memory_bytes=memory)
        return np.prod([axis.tiles * axis.extent for axis in (plan.time, plan.lat, plan.lon)])

    works = [work(memory * 2**20) for memory in (100, 300, 1000, 3000)]
    assert works == sorted(works, reverse=True)


def test_boundaries_follow_from_the_grid():
    plan = make_plan(GLOBAL, 3, Halo.symmetric(1, 2), FOOTPRINT)
    assert plan.lat.boundary is Boundary.POLE
    assert plan.lat.pole_offsets == (0, 0)
    assert plan.lon.boundary is Boundary.PERIODIC
    region = make_plan(REGION, 3, Halo.symmetric(1, 2), FOOTPRINT)
    assert {region.lat.boundary, region.lon.boundary, region.time.boundary} == {Boundary.EDGE}


def test_a_field_that_fits_is_one_band():
    plan = make_plan(REGION, 1, Halo.symmetric(1, 12), FOOTPRINT)
    assert plan.lon.tiles == 1


def test_a_given_core_is_kept_and_cut_to_the_field():
    plan = make_plan(REGION, 9, Halo.symmetric(1, 2), FOOTPRINT, core=100, time_core=4)
    assert plan.core_shape == (4, 81, 100)


def test_a_global_receptive_field_means_one_tile_without_halo():
    plan = make_plan(REGION, 2, "global", FOOTPRINT)
    assert plan.tile_shape == (2, 81, 121)


def test_memory_does_not_grow_with_the_forecast():
    for frames in (100, 10_000):
        plan = make_plan(REGION, frames, Halo.symmetric(2, 12), FOOTPRINT, memory_bytes=200 * 2**20)
        assert FOOTPRINT.memory_bytes(plan) <= 200 * 2**20


def test_a_budget_too_small_is_refused_with_what_is_needed():
    with pytest.raises(MemoryBudgetTooSmall) as caught:
        make_plan(GLOBAL, 40, Halo.symmetric(2, 12), FOOTPRINT, memory_bytes=2**20)
    needed = re.search(r"--memory (\d+)MiB", caught.value.mend)
    assert needed
    make_plan(GLOBAL, 40, Halo.symmetric(2, 12), FOOTPRINT, memory_bytes=int(needed[1]) * 2**20)
    with pytest.raises(MemoryBudgetTooSmall):
        make_plan(GLOBAL, 40, Halo.symmetric(2, 12), FOOTPRINT, memory_bytes=(int(needed[1]) - 1) * 2**20)


@pytest.mark.parametrize("option", ["core", "time_core"])
def test_an_empty_core_is_refused(option):
    with pytest.raises(UsageError):
        make_plan(REGION, 2, Halo.symmetric(1, 2), FOOTPRINT, **{option: 0})


def test_the_stub_names_what_the_core_has():
    stub = Path(inspect.getfile(tiling)).parent.parent.joinpath("_core.pyi").read_text()
    named = set(re.findall(r"^(?:def|class) (\w+)", stub, re.MULTILINE))
    assert named == {name for name in dir(_core) if not name.startswith("_")}
    for name in named:
        member = getattr(_core, name)
        documented = (member.__init__ if inspect.isclass(member) else member).__doc__.split("\n")[0]
        parameters = re.findall(r"[(,] ?(\w+): ", documented)
        stubbed = re.search(
            rf"^(?:def {name}|class {name}:\n    def __init__)\((.*?)\) ->", stub, re.MULTILINE | re.DOTALL
        )
        assert stubbed
        assert [p for p in parameters if p != "self"] == re.findall(r"(\w+): ", stubbed[1])
