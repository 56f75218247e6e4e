# Every target sets up what it needs in .venv; nothing has to be installed by hand.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY_RUN := $(VENV)/.ready-run
READY  := $(VENV)/.ready
READY_ALL := $(VENV)/.ready-openagents
# Each test has a folder, ports and processes of its own. Half of its time it waits for processes: three keep two cores busy.
WORKERS := -n 3 --dist worksteal
# The two versions of openagents that networks in use were made by; the second is the newest.
OPENAGENTS := 0.8.6 0.9.3.post20

# What drives a browser takes 53 MB: only where there is one. Without it the tests of the dashboard say that they are skipped.
COMMA   := ,
BROWSER := $(if $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),$(COMMA)browser)

.DEFAULT_GOAL := help
# What this sets is for other programs: here every start would compile each module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-all test-openagents test-lowest mutate check docs bench bench-quick soak clean

help:  ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv installs in a fraction of pip's time; pip remains for machines whose package index only pip knows.
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --editable $(1) || $(PIP) --editable $(1)
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The runtime alone: a person who wants to see the sample network waits for nothing else.
$(READY_RUN): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) uv
	$(call INSTALL,.)
	@touch $(READY_RUN)

$(READY): $(READY_RUN)
	$(call INSTALL,'.[test$(BROWSER)]')
	@touch $(READY)

$(READY_ALL): $(READY)
	$(call INSTALL,'.[test,openagents]')
	@touch $(READY_ALL)

run: $(READY_RUN)  ## run the sample network (network.yaml) and reload its mods on save
	@$(BIN)/oa-dev run $(ARGS)

test: $(READY)  ## the tests, under five minutes
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-all: $(READY_ALL)  ## the slow tests too, and those against the package openagents
	$(BIN)/python -m pytest $(WORKERS) -m '' --hypothesis-profile thorough $(ARGS)
	$(MAKE) test-openagents test-lowest

test-openagents: $(addprefix test-openagents-,$(OPENAGENTS))  ## its tests on the oldest and the newest openagents that are known

# An environment for each: no test may find another version than the one that it is about. Their warnings are theirs.
test-openagents-%: $(READY)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(VENV)-openagents-$*
	$(BIN)/uv pip install --quiet --python $(VENV)-openagents-$*/bin/python --editable '.[test]' 'openagents[sdk]==$*' 'mcp<2'
	$(VENV)-openagents-$*/bin/python -m pytest $(WORKERS) -W default -m '' -p no:cacheprovider tests/bridge $(ARGS)

test-lowest: $(READY)  ## the core tests on the lowest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[test]'
	$(VENV)-lowest/bin/python -m pytest $(WORKERS) -W default -p no:cacheprovider tests/api tests/network tests/cli $(ARGS)

mutate: $(READY)  ## break protecting code in some fifty ways, one at a time: a test has to notice each
	$(BIN)/python -m tests.mutants

check: $(READY)  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## the documentation as a site, in .site; a broken link is an error
	@$(BIN)/python -c 'import mkdocs' 2>/dev/null || { $(call INSTALL,'.[docs]'); }
	$(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

bench: $(READY)  ## measure against peers, write bench/RESULTS.md; one part: ARGS=save
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(READY)  ## the same in under two minutes
	$(BIN)/python -m bench --quick $(ARGS)

soak: $(READY)  ## thirty minutes of random faults under load; the result becomes docs/soak.md
	$(BIN)/python -m tests.soak --minutes 30 --write docs/soak.md $(ARGS)

clean:  ## remove what the targets made
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-openagents-* .oa-dev .mypy_cache .ruff_cache .pytest_cache .hypothesis .bench .site *.egg-info
