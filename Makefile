# Everything a newcomer or CI needs; each target sets up what it lacks.  `make help` lists them.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types check bench bench-cpu bench-gpu aot clean mutation

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the pinned pair of torch and triton, and the rest

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed; set PYTHON=... to another Python >= 3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,cluster]'
	@touch $@

demo: setup ## grade every challenge's starter and reference
	$(BIN)/python -m benchmarks.demo

test: setup ## run the whole test suite
	$(BIN)/python -m pytest -q -n 2

lint: setup ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict over the packages
	$(BIN)/mypy

check: setup ## the author's gate over every challenge
	$(BIN)/kvdojo check

bench: setup ## start-up times, side by side with a bare import of torch
	$(BIN)/python -m benchmarks.startup

bench-cpu: setup ## a decode step's cost as the context grows, against torch.cat and transformers' caches
	$(BIN)/python -m benchmarks.decode_step

bench-gpu: setup ## the kernels on a CUDA device: right first, then against SDPA, FlexAttention and torch.compile
	$(BIN)/python -m benchmarks.gpu

aot: setup ## compile every kernel configuration for sm_90, without a GPU, and print what it uses
	$(BIN)/python -m kernels.aot

mutation: setup ## score the cases on mutants of each reference (CH=id for one)
	$(BIN)/python -m benchmarks.mutation $(CH)

clean: ## remove everything that was made here
	rm -rf $(VENV) build report work .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
