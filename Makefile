# Two commands are all that a user needs: `make train` and `make test`. Both make .venv first where it is missing or old.
#   make train PRESET=presets/tiny/run.yaml ARGS="--set rollout.group_size=6 --out runs/mine"
PRESET ?= presets/tiny/run.yaml
ARGS ?=
# What pytest and the many processes that it starts have compiled once is kept, also where a shell turns that off.
PYTEST = env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest
QUICK = $(PYTEST) -n 2 --dist worksteal
ENGINES = $(PYTEST)
SOURCES = actors benchmarks experiments learner measuring presets reports rewards rlrig rollout scenes serving studio tests weights

.PHONY: train results frontier chaos test test-all test-fast test-gpu lint format venv clean help
.DEFAULT_GOAL := help

help:
	@echo 'make train      train on this machine with the small models; the report is runs/NAME/report.html'
	@echo 'make results    train and evaluate every arm, hours; make results FAST=1 is a quick look; both can be resumed'
	@echo 'make frontier   quality against compute, every system at its own best setting; ARGS="--run RUN"; can be resumed'
	@echo 'make chaos      hurt training runs on purpose, hours; FAST=1 is a short list, KILLS=1 kills whole runs; can be resumed'
	@echo 'make test       lint, then all tests, those that start the engines last'
	@echo 'make test-all   the same, and whole runs whose parts the others run, too'
	@echo 'make test-fast  lint, then the tests that start no engine (minutes)'
	@echo 'make test-gpu   the tests that need a GPU, on one card (5 minutes at most); fails where there is none'
	@echo 'make lint       imports, ruff check and format check, types;  make format  applies what ruff can'
	@echo 'make clean      remove .venv and caches; runs/ stays'

venv:
	@deploy/setup_venv.sh

train: venv
	@.venv/bin/rlrig train $(PRESET) $(ARGS)

results: venv
	@.venv/bin/rlrig results $(PRESET) $(if $(FAST),--fast) $(ARGS)

frontier: venv
	@.venv/bin/python -m experiments.frontier $(PRESET) $(ARGS)

chaos: venv
	@.venv/bin/rlrig chaos $(PRESET) $(if $(FAST),--fast) $(if $(KILLS),--kills) $(ARGS)

test: lint
	$(QUICK) -m "not engines and not long"
	$(ENGINES) -m "engines and not long"

test-all: lint
	$(QUICK) -m "not engines"
	$(ENGINES) -m engines

test-fast: lint
	$(QUICK) -m "not engines and not long"

test-gpu: venv
	@.venv/bin/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("test-gpu: torch sees no GPU here, so nothing was tested")'
	CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES:-0} timeout 300 $(ENGINES) -m gpu

lint: venv
	.venv/bin/lint-imports
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy

format: venv
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
