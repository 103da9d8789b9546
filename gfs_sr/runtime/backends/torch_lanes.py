"""How batches go through a device of PyTorch: copied in, computed and copied out on lanes of their own.

While one batch computes, the next is copied in and the last one out. On the CPU there is one lane, and all is done when
a step returns.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum, auto
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from gfs_sr.runtime.backends.base import Array

WARM_UPS: Final = 3  # runs before a capture: libraries choose their algorithms, Triton compiles


class Lane(Enum):
    """Work of one kind, in its own order."""

    IN = auto()
    COMPUTE = auto()
    OUT = auto()


class Lanes:
    """The streams of one device; none on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        make: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
        self._streams = {lane: make(device) for lane in Lane} if device.type == "cuda" else {}

    def on(self, lane: Lane) -> AbstractContextManager[Any]:
        """What is enqueued within waits for its own lane alone."""
        return torch.cuda.stream(self._streams[lane]) if self._streams else nullcontext()

    def after(self, lane: Lane, event: "torch.cuda.Event | None") -> None:
        """Let `lane` wait for what was marked; the host does not wait."""
        if event is not None:
            self._streams[lane].wait_event(event)

    def mark(self, lane: Lane) -> "torch.cuda.Event | None":
        """Where `lane` stands; None where nothing is ever on its way."""
        return self._streams[lane].record_event() if self._streams else None

    @contextmanager
    def computing(self) -> Iterator[None]:
        """What is enqueued within computes after all that the caller's stream was given; what follows there waits."""
        if not self._streams:
            yield
            return
        own, outside = self._streams[Lane.COMPUTE], torch.cuda.current_stream(self.device)
        own.wait_stream(outside)
        with torch.cuda.stream(own):
            yield
        outside.wait_stream(own)

    def wait(self) -> None:
        """Until all lanes are empty."""
        for stream in self._streams.values():
            stream.synchronize()


class Flight:
    """One batch on its way: see `Started`."""

    def __init__(
        self,
        taken: "torch.cuda.Event | None",
        done: "torch.cuda.Event | None",
        landing: Callable[[], None] | None,
        guarded: Callable[..., Any],
    ) -> None:
        """`landing` puts the result where it was asked for, once it is on the host; `guarded` names errors."""
        self._taken, self._done, self._landing, self._guarded = taken, done, landing, guarded
        self._lock = threading.Lock()  # guards `_landing`: the slot and the reader may both ask
        self._landed = False

    def taken(self) -> None:
        """Wait until the inputs were copied in."""
        if self._taken is not None:
            self._guarded("cannot copy the batch to the device", self._taken.synchronize)

    def done(self) -> None:
        """Wait until the result is in its place."""
        with self._lock:
            if self._landed:
                return
            if self._done is not None:
                self._guarded("cannot run the batch", self._done.synchronize)
            if self._landing is not None:
                self._landing()
            self._landed = True


class Program:
    """What computes batches of one shape: on a GPU one CUDA graph, so that the host launches once for all layers.

    There is one graph, with inputs and results of its own, whatever the number of slots: a graph's memory holds every
    intermediate field.
    """

    def __init__(self, run: Callable[..., Any], lanes: Lanes, *, captured: bool) -> None:
        self._run, self._device = run, lanes.device
        self.is_captured = captured and lanes.device.type == "cuda"
        self.graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, Tensor] = {}
        self._results: tuple[Tensor, ...] = ()

    def __call__(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Enqueue on the current stream; where a graph was captured, the next call overwrites the results."""
        if not self.is_captured:
            return self._forward(inputs)
        if self.graph is None:
            self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
            self.graph = self._capture()
        for name, tensor in inputs.items():
            self._inputs[name].copy_(tensor)
        self.graph.replay()
        return self._results

    def _capture(self) -> "torch.cuda.CUDAGraph":
        for _ in range(WARM_UPS):
            self._forward(self._inputs)
        stream = torch.cuda.current_stream(self._device)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # other threads copy to and from pinned memory meanwhile, which is no part of the capture
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._results = self._forward(self._inputs)
        return graph

    def _forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        given = self._run(**inputs)
        return tuple(each.float().contiguous() for each in (given if isinstance(given, tuple) else (given,)))


class Slot:
    """One batch's place on the device, from when it is copied in until it was copied out."""

    def __init__(
        self,
        program: Program,
        lanes: Lanes,
        shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
        results: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._program, self._lanes, self._shapes = program, lanes, results
        with lanes.on(Lane.IN):
            self._inputs = {
                name: torch.empty(shape, dtype=dtype, device=lanes.device) for name, (shape, dtype) in shapes.items()
            }
        self._results: tuple[Tensor, ...] = ()
        self._landing: dict[str, Tensor] = {}
        self._computed: torch.cuda.Event | None = None
        self._copied_out: torch.cuda.Event | None = None
        self._flight: Flight | None = None

    def start(self, given: Mapping[str, Tensor], into: Array | None, guarded: Callable[..., Any]) -> Flight:
        """Enqueue one batch, its only result for `into`; None leaves all results in `landing`."""
        if self._flight is not None:
            self._flight.done()  # what it left in `landing` has been read
        lanes = self._lanes
        direct = into is not None and into.flags.c_contiguous and into.flags.aligned
        targets = [torch.from_numpy(into)] if direct else list(self.landing.values())
        with torch.inference_mode():
            with lanes.on(Lane.IN):
                lanes.after(Lane.IN, self._computed)
                for name, tensor in self._inputs.items():
                    tensor.copy_(given[name], non_blocking=True)
                copied_in = lanes.mark(Lane.IN)
            with lanes.on(Lane.COMPUTE):
                lanes.after(Lane.COMPUTE, copied_in)
                lanes.after(Lane.COMPUTE, self._copied_out)
                self._compute()
                self._computed = lanes.mark(Lane.COMPUTE)
            with lanes.on(Lane.OUT):
                lanes.after(Lane.OUT, self._computed)
                for target, result in zip(targets, self._results, strict=True):
                    target.copy_(result, non_blocking=True)
                self._copied_out = lanes.mark(Lane.OUT)

        def land() -> None:
            assert into is not None  # else nothing is to be moved
            np.copyto(into, targets[0].numpy())

        landing = land if into is not None and not direct else None
        self._flight = Flight(copied_in, self._copied_out, landing, guarded)
        return self._flight

    @property
    def landing(self) -> Mapping[str, Tensor]:
        """The results on the host, where nobody gave a place for them."""
        if not self._landing:
            self._landing = {name: host(shape, self._lanes.device) for name, shape in self._shapes.items()}
        return self._landing

    def drain(self) -> None:
        """Wait until nothing of this slot is on its way."""
        if self._flight is not None:
            self._flight.done()

    def _compute(self) -> None:
        results = self._program(self._inputs)
        if not self._program.is_captured:
            self._results = results
            return
        if not self._results:
            self._results = tuple(torch.empty_like(each) for each in results)
        for own, result in zip(self._results, results, strict=True):
            own.copy_(result)  # the graph's own result is overwritten by the next batch


def host(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Zeroed memory of the host that `device` reads and writes without a detour."""
    return torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
