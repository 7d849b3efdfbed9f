# Everything a newcomer or CI needs; each target sets up what it lacks.  `make help` lists them.
#
# PYTHON=python3.12 takes another Python than the newest that is here. pip's own variables and files are
# heeded, e.g. PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu for the small CPU build of torch.
VENV    := .venv
BIN     := $(VENV)/bin
# what was installed last: what a learner needs, and all that tests and benchmarks need beside it
LEARNER := $(VENV)/.installed
ALL     := $(VENV)/.installed-dev
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test lint types check bench bench-cpu bench-gpu aot clean mutation anew

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(LEARNER) ## make .venv and install what a learner needs: the pinned torch and triton, and little else

dev: $(ALL) ## install what the tests, lint, types and benchmarks need beside it

# pip shows how far it is to a person, and says nothing to a log; what it installs from here it does not compile
define install
@sh tools/make_venv.sh $(VENV) $(PYTHON)
@quiet=; [ -t 1 ] || quiet=--quiet; set -x; \
$(BIN)/python -m pip install $$quiet --disable-pip-version-check -c constraints.txt -e '$(1)' && \
$(BIN)/python -m compileall -q grader
endef

$(LEARNER): pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

$(ALL): pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(LEARNER) $@

# a PYTHON that is named, and is not the one of .venv, makes it anew
ifdef PYTHON
ifneq ($(shell $(BIN)/python -V 2>/dev/null),$(shell $(PYTHON) -V 2>/dev/null))
$(LEARNER) $(ALL): anew
endif
endif

demo: setup ## grade every challenge's starter and reference
	$(BIN)/python -m benchmarks.demo

test: dev ## run the whole test suite
	$(BIN)/python -m pytest -q -n 2

lint: dev ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev ## mypy --strict over the packages
	$(BIN)/mypy

check: setup ## the author's gate over every challenge that has changed since it passed
	$(BIN)/kvdojo check --changed

bench: setup ## start-up times, side by side with a bare import of torch
	$(BIN)/python -m benchmarks.startup

bench-cpu: dev ## a decode step's cost as the context grows, against torch.cat and transformers' caches
	$(BIN)/python -m benchmarks.decode_step

bench-gpu: dev ## the kernels on a CUDA device: right first, then against SDPA, FlexAttention and torch.compile
	$(BIN)/python -m benchmarks.gpu

aot: setup ## compile every kernel configuration for sm_90, without a GPU, and print what it uses
	$(BIN)/python -m kernels.aot

mutation: dev ## score the cases on mutants of each reference (CH=id for one)
	$(BIN)/python -m benchmarks.mutation $(CH)

clean: ## remove everything that was made here, but for work/, which is the learner's
	rm -rf $(VENV) build report .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
