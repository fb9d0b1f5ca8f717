# Two commands do all set-up: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.12 || command -v python3)
VENV := .venv
STAMP := $(VENV)/.installed

# Bytecode is kept whatever the environment says: hundreds of tests start a process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check lint clean

demo: $(STAMP)
	$(VENV)/bin/vla demo

test: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/python -m pytest -n 2

check: $(STAMP)  ## the quick part of the tests
	$(VENV)/bin/python -m pytest -n 2 -m "not slow"

lint: $(STAMP)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

# The environment is made anew whenever the pins change.
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] != (3, 12) and "Python 3.12 is needed, this is %d.%d; set PYTHON=/path/to/python3.12" % v[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet uv==$(shell sed -n 's/^uv==//p' requirements/uv.txt)
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -r requirements/dev.txt
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps -e .
	@touch $(STAMP)

clean:
	rm -rf $(VENV) runs
