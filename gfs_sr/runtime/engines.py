"""What a TensorRT engine was built from and for; an engine that does not fit is refused before it is loaded."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from gfs_sr.errors import BackendNotInstalled, EngineMismatch
from gfs_sr.kernels.digest import kernels_digest
from gfs_sr.runtime.artifact import MODEL, PLUGINS, Artifact, digest

INSTALL: Final = (
    "on a machine with an NVIDIA GPU: `pip install tensorrt` (it fetches NVIDIA's libraries from NVIDIA's own index), "
    "then run the same command there; until then run without --backend, which takes an engine that is here"
)
REBUILD: Final = "build it again on this machine: python -m export.trt --ckpt C.ckpt"


class Device(BaseModel):
    """A GPU with its software; an engine runs on no other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str


class Sidecar(BaseModel):
    """`<engine>.json`, beside each engine: the manifest cannot hold its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine_sha256: str
    graph_sha256: str  # of the ONNX graph it was built from
    precision: str
    device: Device
    kernels_sha256: str = ""  # of our kernels within the engine; empty where it has none
    role: str = MODEL  # of that graph

    @property
    def graph_file(self) -> str:
        """The graph it was built from, in the artifact."""
        return f"graphs/{PLUGINS if self.kernels_sha256 else self.role}.onnx"

    @classmethod
    def path_of(cls, engine: Path) -> Path:
        """Where the sidecar of `engine` lies."""
        return engine.with_name(engine.name + ".json")


def engine_name(precision: str, compute_capability: str, role: str = MODEL) -> str:
    """Of the file of an engine: that of a member's graph begins with its role."""
    prefix = "" if role == MODEL else f"{role}-"
    return f"{prefix}{precision}-sm{compute_capability.replace('.', '')}.engine"


def check_engine(artifact: Artifact, engine: Path, device: Device) -> Sidecar:
    """The engine's sidecar, if the engine is whole, of this artifact's graph, and for this device.

    Raises:
        EngineMismatch: it is not.
    """
    path = Sidecar.path_of(engine)
    try:
        sidecar = Sidecar.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineMismatch("the engine has no readable sidecar", str(path), REBUILD) from error
    if digest(engine) != sidecar.engine_sha256:
        raise EngineMismatch("the engine's bytes are not those its sidecar promises", str(engine), REBUILD)
    graph = artifact.manifest.files.get(sidecar.graph_file)
    if graph is None or sidecar.graph_sha256 != graph.sha256:
        raise EngineMismatch("the engine was built from another graph than this artifact's", str(engine), REBUILD)
    if sidecar.kernels_sha256 and sidecar.kernels_sha256 != kernels_digest():
        raise EngineMismatch(
            "the engine holds kernels of another version than this one's", str(engine), f"{REBUILD} --plugins"
        )
    for field in Device.model_fields:
        built, here = getattr(sidecar.device, field), getattr(device, field)
        if built != here:
            raise EngineMismatch(f"the engine was built for {field} {built}; here it is {here}", str(engine), REBUILD)
    return sidecar


def this_device(tensorrt_version: str) -> Device:
    """The first GPU of this machine, as its driver names it.

    Raises:
        BackendNotInstalled: there is none.
    """
    tool = shutil.which("nvidia-smi")
    query = [tool or "", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False) if tool else None
    if answer is None or answer.returncode != 0 or not answer.stdout.strip():
        raise BackendNotInstalled("there is no NVIDIA GPU", "nvidia-smi", INSTALL)
    gpu, capability, driver = (part.strip() for part in answer.stdout.splitlines()[0].split(","))
    return Device(gpu=gpu, compute_capability=capability, driver=driver, tensorrt=tensorrt_version)
