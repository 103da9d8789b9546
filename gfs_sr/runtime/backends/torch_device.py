"""PyTorch on a device: the folded network, on our kernels, compiled by Inductor, or as an AOTInductor package.

Each tile shape is one CUDA graph. Written against PyTorch 2.9 to 2.13; on the CPU the same code runs and is tested,
without streams and graphs; it has not run on a real GPU yet.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gfs_sr.errors import BackendNotActive, BackendNotInstalled, UsageError
from gfs_sr.runtime.artifact import MODEL, Artifact
from gfs_sr.runtime.backends.base import Array, Backend, DeviceFields, Precision, Started
from gfs_sr.runtime.backends.torch import load_network

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gfs_sr.runtime.backends.torch_lanes import Lanes, Program, Slot

SLOTS: Final = 3  # of a shape: one copied in, one computed, one copied out
MOST_SHAPES: Final = 4  # at a time: a job has one tile shape, and a smaller one for its last batch
INSTALL: Final = (
    "on a machine with an NVIDIA GPU: pip install 'gfs-sr[train]' with a CUDA build of PyTorch; "
    "until then use --backend onnxruntime or torch"
)
Shapes = tuple[tuple[int, ...], ...]


class TorchDeviceBackend(Backend):
    """The network itself on one device; results of one batch are copied out while the next computes.

    The weights are stored in fp32, so that any precision can be asked for; what was asked for is not what the export
    compared, unless the artifact was exported in it: `gfs-sr verify --backends onnxruntime,torch-cuda` compares here.
    """

    kernels: ClassVar[bool]  # whether our own kernels take the layers that they fit
    cuda_graph: ClassVar[bool] = True
    on_any_device: ClassVar[bool] = False  # whether the CPU will do where there is no GPU

    def __init__(
        self,
        artifact: Artifact,
        *,
        precision: Precision | None = None,
        threads: int | None = None,
        role: str = MODEL,
        device: str | None = None,
    ) -> None:
        """Args as in `open_backend`; the device as PyTorch names it, its first GPU where none is named."""
        super().__init__(artifact, threads=threads, role=role)
        if precision == "int8":
            raise UsageError(
                f"{self.name} has no int8", "--precision", "use --precision bf16, or another --backend for int8"
            )
        own = artifact.contract.precision
        self.precision = precision or ("fp32" if own == "int8" else own)
        self._asked = device
        self._network: nn.Module | None = None
        self._lanes: Lanes | None = None
        self._slots: OrderedDict[Shapes, list[Slot]] = OrderedDict()
        self._programs: OrderedDict[Shapes, Program] = OrderedDict()  # of batches that lie on the device
        self._next = 0

    @classmethod
    def _computes(cls, artifact: Artifact) -> Precision:
        return "fp32"

    @property
    def provider(self) -> str:
        """The device that computes."""
        import torch

        device = self._device()
        return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)

    def _device(self) -> "torch.device":
        import torch

        if self._asked is None and self.on_any_device and not torch.cuda.is_available():
            return torch.device("cpu")
        device = torch.device(self._asked or "cuda")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise BackendNotInstalled(
                f"PyTorch {torch.__version__} sees no CUDA device", f"--backend {self.name}", INSTALL
            )
        return device

    def _activate(self) -> None:
        try:
            import torch
        except ImportError as error:
            raise BackendNotInstalled("PyTorch is not installed", f"--backend {self.name}", INSTALL) from error
        from gfs_sr.runtime.backends.torch_lanes import Lanes

        device = self._device()
        if self.threads is not None and device.type == "cpu":
            torch.set_num_threads(self.threads)
        # convolutions with weights in channels-last give channels-last, which tensor cores read as it lies
        network = self._build().to(device).requires_grad_(False)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub
        self._lanes = Lanes(device)

    def _build(self) -> "nn.Module":
        import torch

        from gfs_sr.models.folding import fold
        from gfs_sr.models.lowering import Lowered
        from gfs_sr.models.model import Model
        from gfs_sr.models.on_kernels import on_kernels

        network = load_network(self.artifact, self.role)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        if self.kernels and isinstance(network, Model):
            taken = on_kernels(network, dtype)
            if taken is not None:
                return taken
        folded = fold(network) if isinstance(network, Model) else network.eval()
        if dtype != torch.float32:
            branch = getattr(folded, "residual", None)
            if branch is None:
                raise UsageError(
                    f"{self.contract.family} has no residual branch that could compute in {self.precision}",
                    "--precision",
                    "use --precision fp32",
                )
            folded.residual = Lowered(branch, dtype)
        return folded

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        """Pinned memory where a GPU copies from it; as NumPy makes it elsewhere."""
        from gfs_sr.runtime.backends.torch_lanes import host

        if self._lanes is None or np.dtype(dtype) != np.float32:
            return super().empty(shape, dtype)
        array: Array = host(shape, self._lanes.device).numpy()
        return array

    def start(self, inputs: Mapping[str, Array], into: Array) -> Started:
        """See `Backend.start`: copies and computation are only enqueued."""
        if len(self.signature.outputs) > 1:
            return super().start(inputs, into)
        if not self._active:
            raise BackendNotActive(f"{self.name} is not active", "start", "call activate() first, or use `with`")
        shapes = self.signature.check(inputs)
        started: Started = self._guarded("cannot run the batch", self._enqueue, inputs, shapes, into)
        return started

    def _infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        shapes = self.signature.check(inputs)
        slot = self._slot(inputs, shapes)
        slot.start(self._tensors(inputs), None, self._guarded).done()
        return {name: tensor.numpy() for name, tensor in slot.landing.items()}

    def _enqueue(self, inputs: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]], into: Array) -> Started:
        return self._slot(inputs, shapes).start(self._tensors(inputs), into, self._guarded)

    def _tensors(self, inputs: Mapping[str, Array]) -> dict[str, "torch.Tensor"]:
        import torch

        # torch warns of arrays it might write to; a copy is made of read-only ones alone
        return {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in inputs.items()}

    def _slot(self, inputs: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> "Slot":
        """The next of the slots for these shapes; the shapes that were not met for longest leave."""
        from gfs_sr.runtime.backends.torch_lanes import Slot

        assert self._lanes is not None  # callers have checked that the backend is active
        key: Shapes = tuple(inputs[name].shape for name in self.signature.inputs)
        slots = self._slots.pop(key, None)
        if slots is None:
            tensors = self._tensors({name: inputs[name] for name in self.signature.inputs})
            program = self._program(tensors)
            forms = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
            count = SLOTS if self._lanes.device.type == "cuda" else 1
            slots = [Slot(program, self._lanes, forms, shapes) for _ in range(count)]
            if len(self._slots) == MOST_SHAPES:
                _, oldest = self._slots.popitem(last=False)
                for slot in oldest:
                    slot.drain()
        self._slots[key] = slots
        self._next += 1
        return slots[self._next % len(slots)]

    def _program(self, example: Mapping[str, "torch.Tensor"]) -> "Program":
        from gfs_sr.runtime.backends.torch_lanes import Program

        assert self._lanes is not None  # callers have checked that the backend is active
        return Program(self._with_settings(self._runner(example)), self._lanes, captured=self.cuda_graph)

    def _fields(self) -> DeviceFields | None:
        from gfs_sr.runtime.backends.torch_fields import TorchFields

        assert self._lanes is not None  # `fields` has checked that the backend is active
        return TorchFields(self._lanes.device, self._infer_there)

    def _infer_there(self, inputs: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        from gfs_sr.runtime.backends.torch_fields import without_values

        key: Shapes = tuple(tuple(inputs[name].shape) for name in self.signature.inputs)
        program = self._programs.pop(key, None)
        if program is None:
            self.signature.check(without_values(inputs))
            program = self._program(inputs)
            if len(self._programs) == MOST_SHAPES:
                self._programs.popitem(last=False)
        self._programs[key] = program
        field: torch.Tensor = self._guarded("cannot run the batch", self._compute, program, inputs)
        return field

    def _compute(self, program: "Program", inputs: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
        import torch

        assert self._lanes is not None  # as in `_fields`
        with torch.no_grad(), self._lanes.computing():
            (result,) = program(inputs)
        return result

    def _runner(self, example: Mapping[str, "torch.Tensor"]) -> Callable[..., Any]:
        """What computes batches shaped as `example`, from tensors on the device by name."""
        assert self._network is not None  # callers have checked that the backend is active
        return self._network

    def _with_settings(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        def run(**inputs: "torch.Tensor") -> Any:
            # TF32's 10 bits of mantissa would pass for fp32; matrix products have it off by default
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True, allow_tf32=False):
                return compute(**inputs)

        return run

    def _deactivate(self) -> None:
        for slots in self._slots.values():
            for slot in slots:
                slot.drain()
        if self._lanes is not None:
            self._lanes.wait()
        self._slots.clear()
        self._programs.clear()
        self._network = self._lanes = None


class TorchCudaBackend(TorchDeviceBackend):
    """Eager PyTorch with our kernels where they fit, replayed as one CUDA graph."""

    name = "torch-cuda"
    kernels = True


class TorchCompileBackend(TorchDeviceBackend):
    """The folded network as Inductor compiles it, for every shape anew: tens of seconds at the first batch."""

    name = "torch-compile"
    kernels = False
    on_any_device = True

    def _runner(self, example: Mapping[str, "torch.Tensor"]) -> Callable[..., Any]:
        import torch

        compiled: Callable[..., Any] = torch.compile(super()._runner(example), dynamic=False)
        return compiled


class AotInductorBackend(TorchDeviceBackend):
    """An AOTInductor package for every shape, compiled at its first batch and kept in the user's cache.

    Packages are machine code, so none is taken from an artifact: they are made here, from its weights.
    """

    name = "aotinductor"
    kernels = False
    cuda_graph = False
    on_any_device = True

    def _runner(self, example: Mapping[str, "torch.Tensor"]) -> Callable[..., Any]:
        import torch

        package = self._package(example)
        if not package.is_file():
            assert self._lanes is not None  # callers have checked that the backend is active
            assert self._network is not None
            given = {name: tensor.to(self._lanes.device) for name, tensor in example.items()}
            package.parent.mkdir(parents=True, exist_ok=True)
            draft = package.with_name(f".{secrets.token_hex(4)}.pt2")
            try:
                with torch.no_grad():
                    program = torch.export.export(self._network, args=(), kwargs=given)
                    torch._inductor.aoti_compile_and_package(program, package_path=str(draft))
                draft.replace(package)
            finally:
                draft.unlink(missing_ok=True)
        loaded: Callable[..., Any] = torch._inductor.aoti_load_package(str(package))
        return loaded

    def _package(self, example: Mapping[str, "torch.Tensor"]) -> Path:
        import torch

        from gfs_sr.runtime.backends.choice import cache_folder, processor

        facts = [self.role, self.precision, torch.__version__, self.provider, processor()]
        facts += [f"{name} {tuple(tensor.shape)}" for name, tensor in example.items()]
        key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
        return cache_folder() / "aotinductor" / self.artifact.sha256[:32] / f"{key}.pt2"
