# make run   puts what running needs into .venv and trains a first few rows of Table II on the built-in phantom
# make test  puts what developing needs into .venv and runs the tests, in two processes
# make test-lowest  runs the same tests with the lowest versions that setup.cfg allows, in an environment of their own
# make test-python PYTHON=3.12  runs them with another Python, in an environment of its own
# make wheel  builds wheel and source distribution, checks them, and runs the wheel away from the checkout
# make docs  builds the documentation as a site
# make audit  asks PyPI's advisories about all that is installed in .venv; fails where a package could not be asked about
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := build/tools
LOWEST := build/lowest

.PHONY: run test test-lowest test-python wheel docs audit lint clean

run: $(VENV)/running
	$(BIN)/python run_experiments.py --table 2

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Of what setup.cfg names, the lowest versions; of what those need, the newest. Always from scratch.
test-lowest: $(TOOLS)/installed
	$(TOOLS)/bin/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(TOOLS)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e ".[dev]"
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile

test-python: $(TOOLS)/installed
	$(TOOLS)/bin/uv venv --quiet --clear --python $(PYTHON) build/python
	$(TOOLS)/bin/uv pip install --quiet --python build/python/bin/python -e ".[dev]"
	build/python/bin/python -m pytest -n 2 --dist loadfile

# The wheel stands alone in an environment of its own, and takes what it needs from .venv.
wheel: $(VENV)/installed $(TOOLS)/installed
	rm -rf build/wheel && $(TOOLS)/bin/python -m build --quiet --outdir build/wheel .
	$(TOOLS)/bin/twine check --strict build/wheel/*
	$(PYTHON) -m venv --clear build/alone
	build/alone/bin/python -m pip install --quiet --no-deps build/wheel/*.whl
	realpath $(VENV)/lib/python*/site-packages > $$(echo build/alone/lib/python*/site-packages)/needed.pth
	cd build/alone && bin/mmdc-tf datasets list && bin/mmdc-tf run --list > list.txt && test -s list.txt

# Without --strict a package that the service does not know, or that is out of reach, counts as sound.
audit: $(VENV)/installed $(TOOLS)/installed
	$(BIN)/python -m pip freeze --all --exclude-editable > $(TOOLS)/packages.txt
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(TOOLS)/packages.txt

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python .ci/budgets.py

define install
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"mmdc_tf needs Python 3.11 or newer. Received: {v.major}.{v.minor}. Use: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e "$(1)"
	touch $(VENV)/running $@
endef

$(VENV)/running: setup.cfg setup.py pyproject.toml
	$(call install,.)

$(VENV)/installed: setup.cfg setup.py pyproject.toml
	$(call install,.[dev])

$(TOOLS)/installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet "uv>=0.8" "pip-audit>=2.9" "build>=1.2" "twine>=6"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info

docs: $(VENV)/documented
	$(BIN)/mkdocs build

$(VENV)/documented: setup.cfg setup.py pyproject.toml
	$(call install,.[docs])
