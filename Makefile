# make demo   set up, then embed a dozen tracks and write an HTML report
# make test   set up, then run style, types and tests
#
# Set-up makes .venv with this package and torch. On Linux, pip's default torch brings CUDA libraries of several
# gigabytes; on a machine without a GPU choose a CPU build first, for example
#   make demo TORCH="torch --index-url <the CPU index named on PyTorch's install page>"

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready

.PHONY: demo test clean

demo: $(READY)
	$(BIN)/m2l2 demo --out demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed; name one, as in: make demo PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
	  echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PIP) $(TORCH)
	$(PIP) --editable ".[render,train,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo
