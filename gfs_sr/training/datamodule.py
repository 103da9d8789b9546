"""Training data: sources in, one batch of every stream per step out, the same for the same seed, epoch and step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from gfs_sr.contract import Contract, Quantiles, Scaling
from gfs_sr.data.chunk_cache import ChunkCache
from gfs_sr.data.coarsen import SIGMA, TimeReduction
from gfs_sr.data.prepared import Preparation, prepare
from gfs_sr.data.sources.blocks import BlockFile
from gfs_sr.errors import NothingToUpscale, ShapeMismatch, UsageError
from gfs_sr.models.model import Model
from gfs_sr.models.receptive_field import Reach
from gfs_sr.training.field_set import SourceConfig, read_packed
from gfs_sr.training.fields import Fields
from gfs_sr.training.open_source import open_source
from gfs_sr.training.parcel import Batch, Parcel
from gfs_sr.training.samples import Sampler as SampleSampler
from gfs_sr.training.samples import StreamConfig, Task
from gfs_sr.training.split import Parts, SplitConfig, check_split, split_fields
from gfs_sr.training.stored_set import StoredSet
from gfs_sr.training.thinning import coarse_in_time
from gfs_sr.training.units import fit_scalings, units_of
from gfs_sr.training.windows import generator

DEFAULT_STREAM: Final = StreamConfig()
BY_SOURCE: Final = SplitConfig()
POOL_KEY: Final = 1 << 24  # an index no sample reaches: pools are drawn apart from samples
MOST_REASONS: Final = 4  # in an error
BATCHES_AHEAD: Final = 8  # of all workers together, or two of each
VALIDATION_KEY: Final = 1 << 20  # an epoch no training reaches: validation samples are nobody's training samples


class StepKeys(Sampler[tuple[int, int]]):
    """(epoch, step) of the training steps of an epoch, from step `first` on."""

    def __init__(self, steps: int) -> None:
        self.steps, self.epoch, self.first = steps, 0, 0

    def set_epoch(self, epoch: int) -> None:
        """The Trainer calls it before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for step in range(self.first, self.steps):
            yield self.epoch, step

    def __len__(self) -> int:
        return self.steps


@dataclass(frozen=True)
class Share:
    """Which samples of a step are this process's: of `ranks` processes, every `ranks`-th from `rank` on."""

    rank: int = 0
    ranks: int = 1

    def of(self, batch: int) -> range:
        """Indices of the samples, `batch` for every rank."""
        return range(self.rank, batch * self.ranks, self.ranks)


ONE_PROCESS: Final = Share()


class Steps(Dataset[Batch]):
    """One item per step: a batch of every stream, by name.

    A sample is keyed by (seed, epoch, step, stream, index): workers, resumed runs and the processes of a distributed
    one draw what one process draws from beginning to end.
    """

    def __init__(
        self,
        samplers: Mapping[str, SampleSampler],
        seed: int,
        augment: bool,
        epoch_steps: int,
        share: Share = ONE_PROCESS,
    ) -> None:
        self.samplers, self.seed, self.augment, self.epoch_steps = dict(samplers), seed, augment, epoch_steps
        self.share = share

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, step = key
        batch = {}
        for number, (name, sampler) in enumerate(self.samplers.items()):
            stream = sampler.stream
            since = epoch * self.epoch_steps + step
            if since % stream.every != stream.offset % stream.every or not stream.takes_part(since):
                continue
            pool = None
            if sampler.reads_files:
                turn = step // stream.pool_steps
                pool = sampler.pool(generator(self.seed, epoch, turn, number, POOL_KEY))
            samples = [
                sampler.draw(generator(self.seed, epoch, step, number, index), self.augment, pool)
                for index in self.share.of(stream.batch)
            ]
            batch[name] = {key: torch.from_numpy(_stacked([sample[key] for sample in samples])) for key in samples[0]}
        return batch


def _stacked(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """With a first axis; one array alone is not copied, as a large patch is all of its batch."""
    if len(arrays) == 1 and arrays[0].flags.writeable:
        return arrays[0][None]
    return np.stack(arrays)


class _Parcels(Dataset[Parcel]):
    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __getitem__(self, key: tuple[int, int]) -> Parcel:
        return Parcel.of(self.steps[key])


class StepLoader(DataLoader[Any]):
    """A loader that knows how many batches of its epoch it gave, and after a resume gives the rest."""

    def __init__(self, steps: Steps, keys: StepKeys, num_workers: int) -> None:
        super().__init__(
            _Parcels(steps) if num_workers else steps,
            batch_size=None,
            sampler=keys,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,  # what they computed of the fields stays
            # one worker alone has bursts to ride out: whole fields are computed when they are first drawn from
            prefetch_factor=max(2, BATCHES_AHEAD // num_workers) if num_workers else None,
            # a generator of its own: the iterator's seed must not come from the global one, which resumes elsewhere
            generator=torch.Generator().manual_seed(0),
        )
        self.keys = keys
        self.given = self._first = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.keys.first = self.given = self._first
        self._first = 0
        for drawn in super().__iter__():
            self.given += 1
            yield drawn.batch() if isinstance(drawn, Parcel) else drawn

    def state_dict(self) -> dict[str, int]:
        """For the Trainer's checkpoint."""
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """From the Trainer's checkpoint: 0 where an epoch was complete."""
        self._first = state["given"] % self.keys.steps


class _Keyed(Dataset[Batch]):
    def __init__(self, steps: Dataset[Batch], keys: list[tuple[int, int]]) -> None:
        self.steps, self.keys = steps, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Batch:
        return self.steps[self.keys[index]]


def _shortened(sentences: Sequence[str]) -> str:
    """The first few, each once."""
    every = list(dict.fromkeys(sentences)) or ["there is no source at all"]
    return "; ".join(every[:MOST_REASONS]) + (
        f"; and {len(every) - MOST_REASONS} more" if len(every) > MOST_REASONS else ""
    )


class TrainingData(L.LightningDataModule):
    """Field sets of files or of a packed set, split by source.

    Args:
        folder: what the sources' paths are below.
        sources: files to read; none where `packed` is given.
        packed: a file that `python -m gfs_sr.training.pack` wrote.
        validation: sources that are never trained on; their samples make the skill.
        leave_out: sources that are neither trained on nor validated on.
        streams: parts of a training step, by name.
        validation_stream: what is validated on.
        validation_steps: how many batches of it.
        steps_per_epoch: training steps between validations.
        context: coarse cells around a patch, where the network pads by itself; else its own reach.
        seed: of every draw.
        num_workers: processes that draw.
        augment: mirror and turn training samples, and withhold what a network must do without at times.
        area_weights: cells count by the cosine of their latitude, in losses and validation scores.
        split: by date, chance or region in place of by source.
        scalers: variable -> scaler, fitted to what is trained on; the typical mean and spread where none is named.
        sigma: of the Gaussian that makes coarse fields under node registration, fine cells.
        coarse_time: which fine frames make a coarse one.
        cache: folder of prepared stores, so that stored sources are coarsened and normalized once; none is written
            where it is not given.
        step_hours: between frames of an archive that is coarse in time: nothing between them is looked at, gaps divide
            it; 0 takes the frames as they come.
        chunk_memory_mib: what stored sources may hold of their files, all processes that draw together.
    """

    def __init__(
        self,
        folder: str = ".",
        sources: list[SourceConfig] | None = None,
        packed: str | None = None,
        validation: list[str] | None = None,
        leave_out: list[str] | None = None,
        streams: dict[str, StreamConfig] | None = None,
        validation_stream: StreamConfig = DEFAULT_STREAM,
        validation_steps: int = 8,
        steps_per_epoch: int = 100,
        context: int = 0,
        seed: int = 42,
        num_workers: int = 0,
        augment: bool = True,
        area_weights: bool = False,
        split: SplitConfig = BY_SOURCE,
        scalers: dict[str, str] | None = None,
        sigma: float = SIGMA,
        coarse_time: TimeReduction = TimeReduction.EVERY,
        cache: str | None = None,
        chunk_memory_mib: int = 512,
        step_hours: float = 0.0,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.sources, self.packed = sources or [], packed
        self.validation, self.leave_out = validation or [], leave_out or []
        self.streams = streams or {"space_time": StreamConfig()}
        self.validation_stream = validation_stream
        self.validation_steps, self.steps_per_epoch = validation_steps, steps_per_epoch
        self.context, self.seed, self.num_workers = context, seed, num_workers
        self.augment, self.area_weights, self.step_hours = augment, area_weights, step_hours
        self.task: Task | None = None
        self.split, self.scalers, self.sigma, self.coarse_time = split, scalers or {}, sigma, coarse_time
        self.cache = None if cache is None else Path(cache)
        self.chunks = ChunkCache(chunk_memory_mib * 2**20 // max(1, num_workers))
        self.scaling: dict[str, Scaling] = {}
        self.sets: list[Fields] = []
        self._envelope: dict[str, Quantiles] | None = None
        self.parts: Parts | None = None  # None: by source
        self.digest = ""

    def setup(self, stage: str) -> None:
        """Read everything once; the network on the trainer says what it takes."""
        if self.task is not None:
            return
        assert self.trainer is not None  # Lightning attaches it before setup
        network = self.trainer.lightning_module.network
        assert isinstance(network, Model)  # `Supervised` builds one
        margin = network.reach if isinstance(network.reach, Reach) else Reach.space(self.context) + network.context
        check_split(self.split, self.validation)
        promise = network.make_contract(name="training")
        read = self.read() if not self.step_hours else coarse_in_time(self.read(), self.step_hours)
        self.sets = [each.for_network(promise) for each in read]
        if self.cache is not None and not any(isinstance(each, StoredSet) for each in self.sets):
            raise UsageError("data.cache serves stored sources, and none is", "data.cache", "leave it out")
        if self.split.kind != "source":
            self.parts = split_fields(self.sets, self.split)
        self.scaling = self._fitted(network)
        contract = network.make_contract(name="training", normalization=self.scaling)
        self.task = Task.of(
            contract, margin, self.sigma, self.coarse_time, self.area_weights, bool(network.location_grid)
        )
        if network.location_grid:
            self._check_places(network.location_grid)
        if self.cache is not None:
            self._prepare(self.cache, contract)
        for name, sampler in {**self._train_samplers(), "validation": self._validation_sampler()}.items():
            if not sampler.sets:
                raise NothingToUpscale(
                    f"no source suits the stream {name}",
                    _shortened(sampler.refused),
                    "give other sources, or another stream",
                )

    def _fitted(self, network: Model) -> dict[str, Scaling]:
        if self.scalers and network.normalization():
            raise UsageError(
                f"the family {network.family} has units of its own", "data.scalers", "leave out data.scalers"
            )
        return fit_scalings(self.scalers, self.training_sets)

    def _check_places(self, wanted: tuple[int, ...]) -> None:
        if self.context:
            raise UsageError(
                "maps of the place have no cells beyond their grid", "data.context", "give context: 0, or no maps"
            )
        for each in (*self.training_sets, *self.validation_sets):
            if each.shape[1:] != wanted:
                raise ShapeMismatch(
                    f"the learned maps are of {wanted[0]} by {wanted[1]} cells, the fields of {each.shape[1]} by "
                    f"{each.shape[2]}",
                    f"source {each.source}", "give model.network.location_grid the size of the fields",
                )  # fmt: skip

    def _prepare(self, folder: Path, contract: Contract) -> None:
        """Replace stored fields by prepared ones, written by the first process that asks."""
        how = Preparation(contract.registration, contract.scale_factor, self.sigma, units_of(contract.normalization))
        files = {each.file for each in self.sets if isinstance(each, StoredSet) and isinstance(each.file, BlockFile)}
        made = {file: prepare(file, how, folder) for file in files}

        def of(fields: Fields) -> Fields:
            return (
                fields.prepared(made[fields.file]) if isinstance(fields, StoredSet) and fields.file in made else fields
            )

        self.sets = [of(each) for each in self.sets]
        if self.parts is not None:
            self.parts = {part: [of(each) for each in found] for part, found in self.parts.items()}

    def read(self) -> list[Fields]:
        """All field sets but those left out.

        Raises:
            UsageError: a validation source that does not exist, or neither files nor a packed set.
        """
        sets: list[Fields]
        if self.packed is not None:
            packed, self.digest = read_packed(self.folder / self.packed)
            sets = list(packed)
        else:
            sets = [each for source in self.sources for each in open_source(source, self.folder, self.chunks)]
        if not sets:
            raise UsageError("no training data", "data", "give data.sources or data.packed")
        known = {each.source for each in sets}
        for name in [*self.validation, *self.leave_out]:
            if name not in known:
                raise UsageError(f"no source {name!r}", "data.validation", f"use: {', '.join(sorted(known))}")
        return [each for each in sets if each.source not in self.leave_out]

    @property
    def training_sets(self) -> list[Fields]:
        """The part that is trained on: of the sources that are not validated on, where no other split is given."""
        if self.parts is not None:
            return self.parts["train"]
        return [each for each in self.sets if each.source not in self.validation]

    @property
    def validation_sets(self) -> list[Fields]:
        """The part held out; all where none is."""
        if self.parts is not None:
            return self.parts["validation"] or self.parts["train"]
        return [each for each in self.sets if each.source in self.validation] or self.sets

    @property
    def validated_on(self) -> str:
        """In a word; empty where nothing is held out."""
        if self.parts is None:
            return ", ".join(self.validation)
        return f"held out by {self.split.kind}" if self.parts["validation"] else ""

    @property
    def test_sets(self) -> list[Fields]:
        """The part that neither trains nor validates; none where the split is by source."""
        return [] if self.parts is None else self.parts["test"]

    def stream_samplers(self) -> dict[str, SampleSampler]:
        """Of every training stream, by name."""
        return self._train_samplers()

    def samplers(self, kind: str) -> list[SampleSampler]:
        """Of the training streams of one kind."""
        return [each for each in self._train_samplers().values() if each.stream.kind == kind]

    def _train_samplers(self) -> dict[str, SampleSampler]:
        assert self.task is not None
        return {name: SampleSampler(self.training_sets, self.task, stream) for name, stream in self.streams.items()}

    def _validation_sampler(self) -> SampleSampler:
        assert self.task is not None
        return SampleSampler(self.validation_sets, self.task, self.validation_stream, own_only=True)

    def interval_hours(self) -> tuple[float, ...]:
        """Lengths of the coarse intervals that training draws."""
        return tuple(sorted({hours for each in self._train_samplers().values() for hours in each.interval_hours()}))

    def train_dataloader(self) -> StepLoader:
        """One item per step."""
        samplers = self._train_samplers()
        if self.num_workers:
            self._compute_ahead(samplers.values())
        steps = Steps(samplers, self.seed, augment=self.augment, epoch_steps=self.steps_per_epoch, share=self._share())
        return StepLoader(steps, StepKeys(self.steps_per_epoch), self.num_workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The same samples at every validation, however many processes share its steps."""
        steps = Steps({"validation": self._validation_sampler()}, self.seed, augment=False, epoch_steps=1)
        share = self._share()
        keys = [(VALIDATION_KEY, step) for step in range(share.rank, self.validation_steps, share.ranks)]
        return DataLoader(_Keyed(steps, keys), batch_size=None)

    def _compute_ahead(self, samplers: Iterable[SampleSampler]) -> None:
        """What is computed once of fields in memory comes before workers are forked: they share it."""
        for sampler in samplers:
            for fields in sampler.sets:
                if fields.in_memory:
                    sampler.cut(fields, generator(self.seed), augment=False)

    def _share(self) -> Share:
        assert self.trainer is not None  # Lightning attaches it before it asks for loaders
        return Share(self.trainer.global_rank, self.trainer.world_size)

    def envelope(self) -> dict[str, Quantiles]:
        """Quantiles of what was trained on, per variable; computed once, every checkpoint has them."""
        if self._envelope is None:
            self._envelope = self._quantiles()
        return self._envelope

    def _quantiles(self) -> dict[str, Quantiles]:
        assert self.task is not None
        found = {}
        for name in self.task.variables:
            values = [
                each.thinned(each.variables.index(name), 200_000)
                for each in self.training_sets
                if name in each.variables
            ]
            if values:
                pooled = np.concatenate(values)
                low, median, high = np.nanquantile(pooled, [0.001, 0.5, 0.999])
                found[name] = Quantiles(low=float(low), median=float(median), high=float(high))
        return found
