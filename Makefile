# make book   the book in _build/html     make test    every test
# make bench  speed against peers         make pdf     the built book on paper, by Chromium
# make soak   what takes longer than make test may, two hours: PARTS="kills browser" for some
# make cover  which branches the tests take, by wing; half an hour
# make clean  forget what was built, keep the environments
# make mutants  would the tests notice? a sample: WING=evaluation COUNT=80 SEED=0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One thread for each process: two chapters or tests at a time fill two cores, and more threads
# than cores cost far more than they bring.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Set by some containers: each of some hundred processes would compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: book test bench cover mutants soak pdf clean help

help:
	@sed -n 's/^# make /make /p' Makefile

book: $(VENV)/.ready
	@$(BIN)/python -m mia_utils book run
	@rm -rf _build/html _build/.doctrees
	@$(BIN)/jupyter-book build -W -n --keep-going .
	@echo "book: ready, open file://$(CURDIR)/_build/html/index.html"

test: $(VENV)/.ready-dev
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/python -m pytest -n 2
	@echo "tests: all passed"

cover: $(VENV)/.ready-dev
	@$(BIN)/python -m benchmarks.branches

soak: $(VENV)/.ready-dev
	@$(BIN)/python -m benchmarks.soak $(PARTS)

pdf: book $(VENV)/.ready-pdf
	@$(BIN)/python -m mia_utils.book.pdf

bench: .venv-bench/.ready
	@.venv-bench/bin/python -m benchmarks
	@echo "bench: done, see book/results"

WING ?= evaluation
COUNT ?= 80
SEED ?= 0
mutants: $(VENV)/.ready-dev
	@$(BIN)/python -m benchmarks.mutants $(WING) --count $(COUNT) --seed $(SEED)

clean:
	rm -rf _build book/runs/cifar10-mini
	@echo "clean: done"

$(VENV)/.ready: requirements.txt pyproject.toml
	@$(call environment,$(VENV),-r requirements.txt)

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "set-up: what the tests need"
	@$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

$(VENV)/.ready-pdf: $(VENV)/.ready
	@echo "set-up: what printing needs"
	@$(BIN)/python -m pip install --quiet -e '.[pdf]'
	@touch $@

.venv-bench/.ready: requirements.txt pyproject.toml
	@$(call environment,.venv-bench,-e '.[bench]')

# $(1): folder of the environment, $(2): what to install in it. A module is compiled when it is
# imported; to compile all of them, which nobody imports, takes a minute.
define environment
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"set-up: this is Python %d.%d; Python 3.11 or later is needed (make PYTHON=python3.12 ...)" \
	% sys.version_info[:2])'
echo "set-up: $(1), once, a few minutes"
$(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --no-compile $(2)
touch $@
endef
