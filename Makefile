# The commands of the house.  `make demo` and `make test` need Python >= 3.11 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SEED   ?= 7
MINUTES ?= 60
SECONDS ?= 600
ENGINE ?= docker

.PHONY: demo test explore bench check check-arm format screenshots soak fuzz week story containers clean check-device

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"offbeat needs Python 3.11 or later, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@echo "Setting up $(VENV), once: with TensorFlow about 3 GB, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## simulate, fit, run, alert: the whole loop in a few minutes
	$(BIN)/offbeat demo --seed $(SEED)

test: $(VENV)/.installed ## all tests
	$(BIN)/python -m pytest -n 2 tests/unit tests/fuzz tests/integration tests/system

explore: $(VENV)/.installed ## the properties, at random and on twenty times as many examples as in `make test`
	$(BIN)/python -m pytest -n 2 --timeout 0 -m hypothesis --hypothesis-profile explore tests/unit

check: $(VENV)/.installed ## lint, types, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/docs

screenshots: $(VENV)/.installed ## pictures of the console for the docs, from the demo's plant
	$(BIN)/python tests/system/screenshots.py --seed $(SEED)

soak: $(VENV)/.installed ## kills, restarts, partitions and full disks, for MINUTES
	$(BIN)/python tests/system/soak.py --minutes $(MINUTES)

check-arm: $(VENV)/.installed ## the device half on emulated 64-bit and 32-bit ARM; needs root
	PYTHON=$(BIN)/python .ci/arm

check-device: $(VENV)/.installed ## install-device.sh on Bookworm and Trixie, booted; needs root
	PYTHON=$(BIN)/python .ci/device

containers: $(VENV)/.installed ## docker-compose.yml built, started and tried; ENGINE=podman
	ENGINE=$(ENGINE) PYTHON=$(BIN)/python tests/containers/up.sh

story: $(VENV)/.installed ## a fleet drifts, is taught, and is attacked with a bad model
	$(BIN)/python tests/story/story.py

fuzz: $(VENV)/.installed ## other people's bytes at every door, for SECONDS
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)
	$(BIN)/python tests/fuzz/flood.py --messages 1000000

week: $(VENV)/.installed ## seven days of traffic at speed: memory, threads, descriptors and disk stay flat
	$(BIN)/python tests/system/long_run.py --days 7

fleet: $(VENV)/.installed ## many models on a Ray cluster, one of whose nodes is killed
	$(BIN)/python -m pytest tests/fleet

bench: $(VENV)/.installed ## the table of speed in docs/benchmarks.md, with BUNDLE, on this machine
	$(BIN)/python tests/benchmarks/table.py $(BUNDLE)

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-out .pytest_cache .mypy_cache .ruff_cache
