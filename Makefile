# Set-up, checks and the main job. `make demo` and `make test` need only python3, make and a C++ compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint bench bench-page bench-compare kernels sanitize clean runtime setup

# The constraints file pins every version, so that two machines build the same environment.
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

runtime: $(VENV)/.runtime
$(VENV)/.runtime: pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*.h csrc/*.cpp)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) pip scikit-build-core pybind11 cmake ninja
	$(PIP) --no-build-isolation --editable .
	touch $@

setup: $(VENV)/.setup
$(VENV)/.setup: $(VENV)/.runtime
	$(PIP) torch
	$(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

demo: runtime
	$(BIN)/gfs-sr demo -o .

# from DATA=DIR, the files of configs/default-data.yaml, to the artifact `edm`, which draws members: within an hour of two cores
members: setup
	test -s packed/default.npz || $(BIN)/python -m gfs_sr.training.pack -c configs/default-data.yaml --folder '$(DATA)' \
		-o packed/default.npz
	test -s runs/edm/summary.json || $(BIN)/gfs-sr train -c configs/edm.yaml \
		$(if $(wildcard runs/edm/last.ckpt),--ckpt_path last)
	$(BIN)/python -m export.onnx --ckpt runs/edm/edm.ckpt -o edm

# one thread for each of the processes: with as many threads as cores in every one, all wait for each other
test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m pytest benchmarks --benchmark-enable -m ""

kernels: setup
	$(BIN)/python -m export.kernels

bench-page: setup
	$(BIN)/python -m benchmarks.page

bench-compare: setup
	$(BIN)/python benchmarks/compare.py

sanitize: setup
	csrc/sanitize.sh $(VENV)/sanitize

clean:
	rm -rf $(VENV) build
