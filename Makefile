# `make demo` shows the whole loop; `make test` tests all of it. Both install what they need into two virtual environments.

PYTHON ?= python3
VENV := .venv
LABEL_STUDIO := .venv-label-studio
BIN := $(VENV)/bin
DEMO ?= .demo
DEMO_OPTIONS ?=

TORCH := torch==2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

# Two processes of tests side by side, a file's tests in one of them; torch with a thread in each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo demo-stop test lint unit install label-studio clean

help:
	@echo "make demo       the whole loop on drawn street scenes, in a Label Studio of its own"
	@echo "make demo-stop  end the demo's Label Studio"
	@echo "make test       lint, types, and every test"
	@echo "make unit       only the tests that take seconds"
	@echo "make clean      remove the demo and both virtual environments"

demo: install label-studio
	$(BIN)/maskloop demo start --folder $(DEMO) $(DEMO_OPTIONS)

demo-stop:
	$(BIN)/maskloop demo stop --folder $(DEMO)

test: lint label-studio
	$(PYTEST)

unit: install
	$(PYTEST) tests/unit

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

label-studio: $(LABEL_STUDIO)/.installed

# Without a GPU, the CPU build of torch: from a local package folder if there is one, else from PyTorch's own index.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maskloop needs Python 3.11 or newer, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	@if [ "$$(uname -s)" = Linux ] && ! nvidia-smi >/dev/null 2>&1; then \
		echo "no GPU: the CPU build of torch"; \
		$(BIN)/pip install --no-deps --no-index $(TORCH)+cpu 2>/dev/null || \
		$(BIN)/pip install --no-deps --index-url $(TORCH_CPU_INDEX) $(TORCH)+cpu; \
	fi
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

$(LABEL_STUDIO)/.installed: constraints-label-studio.txt
	$(PYTHON) -m venv $(LABEL_STUDIO)
	$(LABEL_STUDIO)/bin/pip install -c constraints-label-studio.txt label-studio
	@touch $@

clean:
	-$(BIN)/maskloop demo stop --folder $(DEMO)
	rm -rf $(DEMO) $(VENV) $(LABEL_STUDIO)
