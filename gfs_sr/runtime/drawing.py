"""Members of a stochastic model that denoises: conditions once per window, then a sampler, step by step over all tiles.

At every step each tile reads its halo from the whole field as it stands, so a denoiser of finite reach gives the same
member for any tiling. One that sees everything runs whole, or on request in overlapping tiles that are blended at every
step, which is another member and is marked.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from gfs_sr.data.grid import Grid
from gfs_sr.data.statics import fine_cells
from gfs_sr.data.variables import TimeKind, lookup
from gfs_sr.errors import Interrupted
from gfs_sr.runtime.amounts import correction, on_fine
from gfs_sr.runtime.backends.base import Backend
from gfs_sr.runtime.canvas import Canvas, FineTiles
from gfs_sr.runtime.field_denoiser import Asked, denoiser_of
from gfs_sr.runtime.layout import Layout, Region
from gfs_sr.runtime.member_store import MemberStore
from gfs_sr.runtime.noise import microdegrees
from gfs_sr.runtime.pipeline import Progress, Timings
from gfs_sr.runtime.predictors import fine_times
from gfs_sr.runtime.sink import FloatField, Sink
from gfs_sr.runtime.stages import Stages, Window
from gfs_sr.runtime.statics import Statics
from gfs_sr.runtime.tiling import AxisPlan, Plan
from gfs_sr.sampling import SamplingConfig, VpProcess, guided, sample


class Drawing:
    """Draws the members of one job into a sink.

    Args:
        layout: of the graph `mean`.
        steps: tiles of the denoiser, in coarse cells without halo.
        statics: of the layout.
        mean: engine of the graph `mean`.
        denoiser: engine of the graph `denoiser`.
        sampling: solver and noise levels.
        store: members that are done already; None keeps none.
        progress: is told after every member.
    """

    def __init__(
        self,
        layout: Layout,
        steps: Plan,
        statics: Statics | None,
        mean: Backend,
        denoiser: Backend,
        sampling: SamplingConfig,
        store: MemberStore | None = None,
        progress: Progress | None = None,
    ) -> None:
        contract = layout.contract
        assert contract.denoising is not None  # else nothing is drawn
        self.layout, self._job = layout, layout.job
        self._mean, self._denoiser, self._sampling, self._store = mean, denoiser, sampling, store
        self._progress = progress
        self._process = VpProcess(contract.denoising.beta_d, contract.denoising.beta_min)
        self._threads = mean.threads or 0
        self._stages = Stages(layout, statics, self._threads)
        plan, grid = layout.plan, layout.job.horizontal.coarse
        rows, columns = grid.shape
        # what is written at once: the whole field of one window
        whole = Plan(plan.time, AxisPlan(rows, rows, 0, 0), AxisPlan(columns, columns, 0, 0))
        self._whole = Layout(layout.job, whole, 1, len(layout.job.inputs))
        self._out = Stages(self._whole, None, self._threads)
        self._frames = contract.time_factor * plan.time.core
        self._tiles = FineTiles.of(
            steps, contract.denoising.halo, contract, self._frames, grid.is_periodic, self._threads
        )
        self._cells = microdegrees(*fine_cells(grid, contract.scale_factor, contract.registration))
        self._times = fine_times(layout.job.forecast.times.valid_times, contract.time_factor, contract.interval_hours)
        self._names = layout.job.inputs if contract.any_subset else contract.outputs
        self._timings = Timings()

    @property
    def block_shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns) that are written at once."""
        return self._whole.block_shape

    @property
    def is_blended(self) -> bool:
        """Whether the members depend on how they were tiled."""
        return self._tiles.shares is not None

    @property
    def warnings(self) -> list[str]:
        """What was noticed on the way."""
        if not self.is_blended:
            return self._stages.warnings
        plan = self._tiles.coarse
        return [
            *self._stages.warnings,
            f"{self.layout.contract.name} sees the whole field: tiles of {plan.lat.core} by {plan.lon.core} cells "
            "were blended at every step, which makes other members than the whole field",
        ]

    def run(self, sink: Sink) -> Timings:
        """Draw everything; the sink is open, and is left uncommitted.

        Raises:
            Interrupted: Ctrl-C or SIGTERM.
            GfsSrError: the first error of any stage.
        """
        try:
            self._draw_all(sink)
        except KeyboardInterrupt as error:
            kept = "members that were done are kept for --resume" if self._store is not None else "nothing was left"
            raise Interrupted(f"stopped by the user; {kept}", "drawing members", "run the command again") from error
        return self._timings

    def _draw_all(self, sink: Sink) -> None:
        block, done = self._whole.empty_block(), 0
        for window in self._windows():
            canvas: Canvas | None = None
            for member in range(self._job.members):
                field = None if self._store is None else self._store.load(window, member)
                if field is None:
                    if canvas is None:
                        canvas = self.conditions(window)
                    field = canvas.mean if self._job.mean else self.draw(canvas, window.time_tile, member)
                    if self._store is not None:
                        self._store.save(window, member, field)
                with self._timings.measure("scatter"):
                    fine = self._whole.written_channels(field[None])
                    self._out.scatter(np.ascontiguousarray(fine), window, 0, range(1), block)
                    self._out.flag(window, 0, block)
                    region = self._whole.region(window.time_tile, 0)
                    values, flags = block.views(region)
                    if self._job.conserve:
                        self._conserve(fine[0], window, region, values)
                with self._timings.measure("write"):
                    sink.write(region.first_frame, region.first_row, values, flags, member)
                done += values.size
                if self._progress is not None:
                    self._progress(done, self._job.output_cells)

    def _conserve(self, fine: FloatField, window: Window, region: Region, values: FloatField) -> None:
        """Scale the written `values`, in place, by what the whole member `fine` (model units) lacks or has too much."""
        job, contract = self._job, self.layout.contract
        s, r, frames = contract.scale_factor, contract.time_factor, self.layout.plan.time.core
        first = window.time_tile * frames - window.first_frame
        coarse = np.stack([frame.values for frame in window.frames[first : first + frames]])
        lat, _ = fine_cells(job.horizontal.coarse, s, contract.registration)
        area = Grid(lat, job.horizontal.fine.lon).weights()
        rows = slice(region.fine_row, region.fine_row + region.rows)
        columns = slice(job.horizontal.columns.start, job.horizontal.columns.start + region.columns)
        for channel, name in enumerate(job.outputs):
            amounts = np.clip(contract.normalization[name].denormalize(fine[:, channel]), *lookup(name).bounds)
            adds = lookup(name).time_kind is TimeKind.ACCUMULATED
            given = coarse[:, job.inputs.index(name)]
            for place, change in enumerate(correction(amounts[: r * len(given)], given, area, s, r, adds=adds)):
                changed = on_fine(change, s, r)[: region.frames, rows, columns]
                values[:, channel] = values[:, channel] + changed if place else values[:, channel] * changed

    def _windows(self) -> Iterator[Window]:
        windows = self._stages.windows()
        while True:
            with self._timings.measure("read"):
                window = next(windows, None)
            if window is None:
                return
            yield window

    def conditions(self, window: Window) -> Canvas:
        """What all members of a window are drawn around."""
        layout, contract = self.layout, self.layout.contract
        plan, s = layout.plan, contract.scale_factor
        canvas = Canvas.empty(contract, self._frames, len(self._job.inputs), self._job.horizontal.coarse)
        buffers = layout.empty_inputs()
        with self._timings.measure("gather"):
            fields = self._stages.fields(window)
        for first in range(0, plan.spatial_tiles, layout.batch):
            tiles = range(first, min(first + layout.batch, plan.spatial_tiles))
            with self._timings.measure("gather"):
                self._stages.gather(window, fields, tiles, buffers, 0)
            for number, group in enumerate(layout.groups):
                with self._timings.measure("infer"):
                    made = dict(self._mean.infer(layout.inputs(buffers, len(tiles), number)))
                for index, tile in enumerate(tiles):
                    canvas.put(made, tile, index, plan, s, group, contract.any_subset)
        return canvas

    def draw(self, canvas: Canvas, time_tile: int, member: int) -> FloatField:
        """(T, C, H, W) of one member, model units; variables that share a denoiser one after the other."""
        contract = self.layout.contract
        field = np.empty(canvas.mean.shape, np.float32)
        groups = range(len(self._names)) if contract.any_subset else [0]
        many = canvas.condition.shape[1] // len(groups)
        for group in groups:
            channels = slice(group, group + 1) if contract.any_subset else slice(None)
            names = self._names[channels]
            condition = canvas.condition[:, many * group : many * (group + 1)]
            denoiser = denoiser_of(self._asked(np.ascontiguousarray(condition), names, time_tile))
            z = sample(
                guided(denoiser.denoise, self._sampling.sampler.guidance),
                partial(denoiser.noise, member),
                self._sampling,
                self._process,
            )
            z = denoiser.fetch(z)
            field[:, channels] = canvas.mean[:, channels] + canvas.unit[:, channels] * z
        return field

    def _asked(self, condition: FloatField, names: tuple[str, ...], time_tile: int) -> Asked:
        first = time_tile * self._frames
        index = np.minimum(np.arange(first, first + self._frames), self._times.size - 1)
        variable = None
        if self.layout.contract.any_subset:
            ids = self.layout.empty_inputs()["variable"].reshape(-1)
            position = self._job.inputs.index(names[0])
            variable = np.ascontiguousarray(ids[position : position + 1])
        return Asked(
            engine=self._denoiser,
            tiles=self._tiles,
            condition=condition,
            names=names,
            variable=variable,
            cells=self._cells,
            times=list(self._times[index]),
            seed=self._job.seed,
            threads=self._threads,
            timings=self._timings,
        )
