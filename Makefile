# make run   sets everything up and runs the paper's own rows of Table II on the built-in phantom
# make test  sets everything up in .venv and runs the tests, in two processes
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROWS := densenet201,efficientnetb0,vgg16,vgg16_atten,mmdcnet_alpha,mmdcnet_beta,mmdcnet_gamma

.PHONY: run test lint clean

run: $(VENV)/installed
	$(BIN)/python run_experiments.py --table 2 --rows $(ROWS)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

$(VENV)/installed: setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"mmdc_tf needs Python 3.11 or newer. Received: {v.major}.{v.minor}. Use: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
