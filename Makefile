# Every target sets up what it needs: a fresh clone needs nothing but python3 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests that start Ray or kill processes; they come when the others have left the machine to them.
ON_RAY := tests/recovery tests/s3 tests/sweeps/execution

# Tests of what is computed without training: reading sweep files, planning, statistics, analysis, texts.
# One module in them waits for a subprocess that measures the similarity of tasks.
FAST := $(addprefix tests/sweeps/,analysis definition planning presentation results search statistics storage) \
	$(addprefix tests/clmethods/,config user_data test_canonical.py test_hidden_values.py test_metrics.py) \
	$(addprefix tests/test_,language.py method.py project_files.py readme.py structure.py) \
	--ignore=tests/sweeps/definition/orders/test_task_similarity_measurement.py

# A file at a time to each of two workers, in the order of tests/conftest.py: the longest first.
ON_TWO := -n 2 --dist loadfile --no-loadscope-reorder

# Hundreds of processes that tests start would otherwise compile the packages again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: env demo test test-fast test-plain coverage lint style types format bench bench-analysis bench-gpu bench-methods bench-sweeps test-recovery test-cluster torture test-slow test-gpu test-browser fuzz clean help

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV); the first time takes a few minutes (PyTorch is large)."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null || true  # pip uses one core for it
	@touch $@

env: $(READY)    ## set up .venv

demo: $(READY)   ## run a real sweep on the embedded benchmark
	@$(BIN)/sweeps run digits_demo --storage runs/demo

test: style      ## lint, types, tests (what CI runs)
	@$(MAKE) --no-print-directory -j 2 types test-plain
	@$(BIN)/pytest $(ON_TWO) $(ON_RAY)

test-plain: $(READY)  ## all tests but those that start Ray
	@$(BIN)/pytest $(ON_TWO) $(addprefix --ignore=,$(ON_RAY))

test-fast: $(READY)  ## for the daily loop: no training, no Ray, nothing slow
	@$(BIN)/pytest $(ON_TWO) $(FAST)

coverage: $(READY)  ## all tests, and the share of lines of the packages that they run
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ON_TWO) $(addprefix --ignore=,$(ON_RAY))
	@$(BIN)/coverage run -m pytest $(ON_TWO) $(ON_RAY)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: style types  ## ruff, mypy

style: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy

test-cluster: $(READY)   ## several hosts on this machine, and what fails on them (root on Debian)
	@sh tests/cluster/packages.sh $(BIN)/python
	@$(BIN)/python -m tests.cluster.lab clean
	@rm -f build/cluster/observed.jsonl
	@$(BIN)/pytest -m cluster $(ON_TWO) tests/cluster
	@$(BIN)/python -m tests.cluster.lab summary

test-recovery: $(READY)  ## processes killed at chosen points
	@$(BIN)/pytest -m recovery

test-slow: $(READY)      ## checks that take minutes
	@$(BIN)/pytest -m slow

test-gpu: $(READY)       ## checks that need a GPU
	@$(BIN)/pytest -m gpu

test-browser: $(READY)   ## reports opened in Chromium; skipped where there is none
	@$(BIN)/pytest -m browser -rs

fuzz: $(READY)           ## thousands of generated files of users
	@$(BIN)/pytest -m fuzz

torture: $(READY)        ## processes killed at random points, final tables compared
	@$(BIN)/pytest -m torture

DINOV2 := build/dinov2_small/dinov2_small.safetensors

$(DINOV2): $(READY)
	@$(BIN)/python tools/fetch_dinov2_small.py --out $(@D)

bench-methods: $(READY) $(DINOV2)  ## all methods on the embedded benchmarks, with intervals
	@$(BIN)/python benchmarks/methods.py digits --dinov2 $(DINOV2)
	@$(BIN)/python benchmarks/methods.py glyph100
	@$(BIN)/python benchmarks/methods.py embedded4

bench: $(READY)  ## one training step, and its pixels, side by side with what they are compared to
	@$(BIN)/python benchmarks/step.py
	@$(BIN)/python benchmarks/pixels.py

bench-gpu: $(READY)  ## training steps and stages on a GPU, side by side with the bare backbone
	@$(BIN)/python benchmarks/gpu.py

bench-sweeps: $(READY)   ## what sharing stages saves, and what a sweep costs beside its training
	@$(BIN)/python benchmarks/overhead.py
	@$(BIN)/python benchmarks/sharing.py

bench-analysis: $(READY)  ## fronts and order effects from 1 and 20 million rows
	@$(BIN)/python benchmarks/analysis.py

format: $(READY) ## apply ruff's fixes and formatting
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:           ## remove what the targets made, results of sweeps apart
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
