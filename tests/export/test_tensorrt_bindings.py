"""Every name of TensorRT that our code uses exists in its real bindings, with the parameters that we give.

The bindings are a package of their own; the libraries behind them are not to be had here. Libraries that answer null
take their place, so that classes, enumerations and signatures can be read. Nothing of it runs.
"""

import ast
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export import engine
from gfs_sr.runtime.backends import tensorrt

BINDINGS = "tensorrt_bindings"
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec(BINDINGS) is None, reason="needs the bindings: pip install tensorrt-cu13-bindings"
    ),
    pytest.mark.skipif(
        shutil.which("cc") is None or platform.system() != "Linux", reason="needs a C compiler on Linux"
    ),
]

FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL", "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry", "initLibNvInferPlugins", "getNvOnnxParserVersion", "getInferLibVersion",
)  # fmt: skip
LIBRARIES = ("libnvinfer.so.11", "libnvonnxparser.so.11", "libnvinfer_plugin.so.11")
CLASSES = {  # what our code calls an object -> its class
    "trt": "", "builder": "Builder",
    "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "built": "IOptimizationProfile", "cache": "ITimingCache", "runtime": "Runtime", "engine": "ICudaEngine",
    "context": "IExecutionContext",
}  # fmt: skip
READ = """
import json, sys
import tensorrt_bindings as trt
found = {}
for path in json.loads(sys.argv[1]):
    here = trt
    for name in path.split("."):
        here = getattr(here, name, None)
        if here is None:
            break
    found[path] = None if here is None else (getattr(here, "__doc__", None) or "there")
print(json.dumps(found))
"""


def used() -> dict[str, set[str]]:
    """Dotted names below `tensorrt` that our code reads, and the keywords that it calls them with."""
    found: dict[str, set[str]] = {}
    for module in (engine, tensorrt):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else node
            names: list[str] = []
            inner = called
            while isinstance(inner, ast.Attribute):
                names.insert(0, inner.attr)
                inner = inner.value
            if not names or not isinstance(inner, ast.Name) or inner.id not in CLASSES:
                continue
            path = ".".join(filter(None, [CLASSES[inner.id], *names]))
            keywords = {each.arg for each in node.keywords if each.arg} if isinstance(node, ast.Call) else set()
            found.setdefault(path, set()).update(keywords)
    return found


def null_libraries(folder: Path) -> Path:
    """Fill `folder` with libraries that answer null."""
    source = folder / "null.c"
    source.write_text("".join(f"void *{name}() {{ return 0; }}\n" for name in FUNCTIONS))
    for library in LIBRARIES:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / library, source], check=True)
    return folder


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What the bindings say of each name; null where there is none."""
    folder = null_libraries(tmp_path_factory.mktemp("null"))
    paths = [*used(), "BuilderFlag.FP16", "Builder.no_such_method"]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, json.dumps(paths)],
        env=os.environ | {"LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, str | None] = json.loads(run.stdout)
    return answer


def test_our_code_uses_enough_of_tensorrt_for_this_test_to_mean_something() -> None:
    assert {
        "Builder.build_serialized_network", "IBuilderConfig.clear_flag", "OnnxParser.parse_from_file",
        "IExecutionContext.execute_async_v3", "IExecutionContext.set_tensor_address", "Runtime.deserialize_cuda_engine",
        "ICudaEngine.create_execution_context", "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    } <= set(used())  # fmt: skip


def test_every_name_exists(documented: dict[str, str | None]) -> None:
    assert [name for name in used() if documented[name] is None] == []


def test_every_keyword_is_a_parameter(documented: dict[str, str | None]) -> None:
    unknown = [
        f"{name}({keyword}=)"
        for name, keywords in used().items()
        for keyword in keywords
        if f"{keyword}:" not in str(documented[name])
    ]
    assert unknown == []


def test_names_that_are_not_there_are_found_out(documented: dict[str, str | None]) -> None:
    assert documented["Builder.no_such_method"] is None
    assert documented["BuilderFlag.FP16"] is None  # gone in TensorRT 11: types come from the graph
