#!/usr/bin/env bash
# All that needs a GPU, in one call on a bare machine, in less than nine minutes: the core built, kernels and engines held
# to their references, benchmarks, and what the machine was. Nothing is fetched: what is not there is carried as wheels.
#
#   benchmarks/gpu.sh --wheels         where there is internet: fetch the wheels below into .whl (about 40 MB)
#   benchmarks/gpu.sh [--dry-run]      on the GPU machine, from the repository's root; --dry-run wants no GPU and only shows
#                                      what would run, with a smoke run of the kernel benchmark
#
# Results go to $OUT, else to benchmarks/results/gpu: steps.tsv, device.json, kernels.csv, device.csv, bench-*.json, logs.
# PYTHON names the interpreter (its own PyTorch with CUDA is used), SECONDS_MOST the time for everything (530).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

PYTHON=${PYTHON:-python3}
MOST=${SECONDS_MOST:-530}
RESULTS=${OUT:-benchmarks/results/gpu}
WHEELS=.whl
NEEDED=(pytest pluggy iniconfig pytest-benchmark py-cpuinfo pytest-timeout pydantic pydantic-core annotated-types
  typing-inspection typing-extensions safetensors xarray pandas python-dateutil pytz six onnx protobuf ml-dtypes typer
  click rich shellingham)
DRY=no
case "${1:-}" in
  --wheels)
    platforms=()
    for number in 2_17 2_27 2_28 2_31 2_34; do platforms+=(--platform "manylinux_${number}_x86_64"); done
    missed=0
    for name in "${NEEDED[@]}"; do
      pin=$(grep -i "^${name//-/[-_]}==" constraints.txt | head -1)
      "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        "${platforms[@]}" --platform manylinux2014_x86_64 -d "$WHEELS" "${pin:-$name}" ||
        { echo "no wheel of ${pin:-$name}" >&2; missed=1; }
    done
    exit "$missed"
    ;;
  --dry-run) DRY=yes ;;
  "") ;;
  *) sed -n '2,12p' "$0"; exit 2 ;;
esac

mkdir -p "$RESULTS" && RESULTS=$(cd "$RESULTS" && pwd) || exit 2
WORK=$(mktemp -d) || exit 2
trap 'rm -rf "$WORK"' EXIT
export GFS_SR_CACHE="$WORK/cache" GFS_SR_MEASURE=off PYTHONUNBUFFERED=1 TRITON_CACHE_DIR="$WORK/triton"
export TORCHINDUCTOR_CACHE_DIR="$WORK/inductor"
START=$SECONDS
FAILED=0
printf 'step\tstate\tseconds\treason\n' > "$RESULTS/steps.tsv"

left() { echo $((MOST - (SECONDS - START))); }
note() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" | tee -a "$RESULTS/steps.tsv"; }

# step NAME SECONDS COMMAND...: under the smaller of its own limit and what is left of the whole; its output in NAME.log
step() {
  local name=$1 limit=$2 begun=$SECONDS code
  shift 2
  (($(left) < limit)) && limit=$(left)
  if ((limit < 5)); then note "$name" skipped 0 "no time left"; return 1; fi
  timeout --kill-after=5 "$limit" "$@" > "$RESULTS/$name.log" 2>&1
  code=$?
  if ((code == 0)); then note "$name" done $((SECONDS - begun)) ""; return 0; fi
  FAILED=1
  ((code == 124 || code == 137)) && { note "$name" "out of time" $((SECONDS - begun)) "limit $limit s"; return 1; }
  note "$name" failed $((SECONDS - begun)) "exit $code: $(grep -v '^$' "$RESULTS/$name.log" | tail -1 | tr '\t' ' ' | cut -c1-160)"
  return 1
}

has() { "$PYTHON" -c "import $1" > /dev/null 2>&1; }

if compgen -G "$WHEELS/*.whl" > /dev/null; then
  # PyTorch, Triton and NumPy are the machine's own, built for its driver: no wheel of them is carried
  step wheels 90 "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$WORK/site" \
    "$WHEELS"/*.whl && export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$WORK/site"
else
  note wheels skipped 0 "no wheels in $WHEELS: what the machine has must do (benchmarks/gpu.sh --wheels fetches them)"
fi

step device 60 "$PYTHON" benchmarks/gpu_facts.py "$RESULTS/device.json"

if has gfs_sr._core; then
  note core skipped 0 "built already"
elif ! command -v g++ > /dev/null; then
  note core skipped 0 "no g++: tests that tile are left out"
else
  # without CMake: a few files and PyTorch's own copy of pybind11
  step core 120 bash -c '
    include=$("$0" -c "import sysconfig; print(sysconfig.get_path(\"include\"))") &&
    suffix=$("$0" -c "import sysconfig; print(sysconfig.get_config_var(\"EXT_SUFFIX\"))") &&
    bound=$("$0" -c "import pybind11; print(pybind11.get_include())" 2> /dev/null ||
      "$0" -c "import torch.utils.cpp_extension as e; print(e.include_paths()[0])") &&
    g++ -std=c++20 -O3 -shared -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -fno-trapping-math -pthread \
      $(ls csrc/*.cpp | grep -v fuzz_) -Icsrc -I"$include" -I"$bound" -o "gfs_sr/_core$suffix"' "$PYTHON"
fi

GPU=no
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' > /dev/null 2>&1 && GPU=yes
# the project's own settings ask for plugins and for no warnings, which another PyTorch would not keep
TESTS=("$PYTHON" -m pytest -o addopts= -o filterwarnings= -p no:cacheprovider -q -rs -m "not slow"
  --continue-on-collection-errors)
BENCH=("${TESTS[@]}" --benchmark-enable --record --results "$RESULTS")

if ! has pytest; then
  note tests skipped 0 "no pytest: run benchmarks/gpu.sh --wheels where there is internet, and carry $WHEELS"
elif [ "$GPU" = no ]; then
  for name in test-kernels plugins test-parity bench-kernels bench-device bench-cycle; do
    note "$name" skipped 0 "PyTorch sees no CUDA device"
  done
  if [ "$DRY" = yes ] && has pytest_benchmark; then
    step smoke 240 "${BENCH[@]}" --benchmark-json "$RESULTS/bench-smoke.json" benchmarks/bench_kernels.py -k residual
    has zarr && has gfs_sr._core && step smoke-cycle 120 "${BENCH[@]}" benchmarks/bench_cycle.py
  fi
else
  if has triton; then
    step test-kernels 120 "${TESTS[@]}" tests/kernels --ignore tests/kernels/test_compile.py
  else
    note test-kernels skipped 0 "no triton"
  fi
  if has tensorrt && has triton && has onnx && has onnxruntime; then
    step plugins 120 "${TESTS[@]}" tests/gpu/test_plugins.py
  else
    note plugins skipped 0 "needs tensorrt, triton, onnx and onnxruntime"
  fi
  step test-parity 170 "${TESTS[@]}" tests/gpu/test_parity.py tests/runtime/test_torch_device.py
  if has pytest_benchmark; then
    step bench-kernels 110 "${BENCH[@]}" --benchmark-json "$RESULTS/bench-kernels.json" benchmarks/bench_kernels.py
    step bench-device 200 "${BENCH[@]}" --benchmark-json "$RESULTS/bench-device.json" benchmarks/bench_device.py
    if has zarr && has gfs_sr._core; then
      step bench-cycle 120 "${BENCH[@]}" --benchmark-json "$RESULTS/bench-cycle.json" benchmarks/bench_cycle.py
    else
      note bench-cycle skipped 0 "needs zarr and the compiled core"
    fi
  else
    note bench skipped 0 "no pytest-benchmark: run benchmarks/gpu.sh --wheels where there is internet, and carry $WHEELS"
  fi
fi
step device-after 30 "$PYTHON" benchmarks/gpu_facts.py "$RESULTS/device-after.json"
echo "$((SECONDS - START)) s, results in $RESULTS"
exit "$FAILED"
