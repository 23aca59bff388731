# Works on a fresh machine with Python 3.10 or newer, pip, git and make. Everything is installed into .venv, which is
# made once and brought up to date when pyproject.toml changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Errors are told, progress and warnings are not.
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq

# Interpreters for `make matrix`; those that are not found are named at the end and fail nothing.
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14
# More words for pytest, the benchmarks or the demo: make test ARGS="-k breaker -x"
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo example test lint format matrix bench clean FORCE

help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'
	@echo
	@echo "  PYTHON=python3.12 picks the interpreter, PYTHONS=\"3.10 3.13\" those of the matrix, ARGS=\"...\" adds words."

demo: $(VENV)/.stamp-demo ## Watch a provider hang, and the guard end the calls
	@$(BIN)/python -m examples.demo $(ARGS)

example: $(VENV)/.stamp-example ## Start the images example: Postgres, provider, worker, API, and a page to look at
	@$(BIN)/python -m examples.images start $(ARGS)

test: lint ## Check style, types and layers, run all tests with branch coverage
	@# Not by pytest at once: what holds many calls to a deadline is to be run with nothing beside it (noxfile.py).
	$(BIN)/nox -s here $(if $(ARGS),-- $(ARGS))

lint: $(VENV)/.stamp-dev ## Check style, types and layers only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.stamp-dev ## Sort imports, fix what can be fixed, format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

matrix: $(VENV)/.stamp-dev ## Run the tests on each Python found, 3.10 to 3.14
	$(BIN)/nox --no-error-on-missing-interpreters -s $(addprefix tests-,$(PYTHONS)) $(if $(ARGS),-- $(ARGS))

bench: $(VENV)/.stamp-bench ## Measure against the peers
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove .venv and all that was built, cached or measured
	rm -rf $(VENV) .nox build dist htmlcov .coverage .coverage.*
	find . \( -name __pycache__ -o -name .hypothesis -o -name '.*_cache' \) -type d -not -path './.git/*' -prune \
	  -exec rm -rf {} +

# --- the virtual environment ------------------------------------------------------------------------------------------

version-of = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# Make .venv anew when its interpreter is gone, or when PYTHON was said and is another one.
ifneq ($(wildcard $(VENV)/.stamp-venv),)
  ifeq ($(call version-of,$(BIN)/python),)
    REMAKE := FORCE
  else ifneq ($(origin PYTHON),file)
    ifneq ($(call version-of,$(PYTHON)),$(call version-of,$(BIN)/python))
      REMAKE := FORCE
    endif
  endif
endif

$(VENV)/.stamp-venv: $(REMAKE)
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) was not found; install Python 3.10 or newer, or say: make PYTHON=/path/to/it" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: hungframe needs Python 3.10 or newer, and $(PYTHON) is `$(PYTHON) --version 2>&1`;" \
	       "say: make PYTHON=/path/to/a/newer/python" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv or no ensurepip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with `$(PYTHON) --version`"
	@$(PYTHON) -m venv --clear $(VENV)
	@# `pip install --group` came with pip 25.1.
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

# One stamp for each dependency group, so that the demo need not wait for the linters.
$(VENV)/.stamp-%: pyproject.toml $(VENV)/.stamp-venv
	@echo "Installing hungframe and its $* dependencies into $(VENV)"
	@$(PIP) install --editable . --group $*
	@touch $@
