# Everything a developer does. `make demo` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow lint generate benchmark chaos mutants clean

demo: $(INSTALLED)  ## Makes an image, a video and a chat answer on this machine, into ./out
	$(BIN)/atelier demo --out out

test: lint  ## Proves everything: lint, then the whole test suite
	$(BIN)/pytest

test-slow: $(INSTALLED)  ## The default image and video at full size and length; a whole stack opened twice
	$(BIN)/pytest -m slow

lint: $(INSTALLED)  ## ruff, mypy --strict, buf lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python protos/generate.py --descriptors $(VENV)/protos.binpb
	$(BIN)/buf lint $(VENV)/protos.binpb --config buf.yaml

generate: $(INSTALLED)  ## Rewrites atelier/pb from protos/, and docs/reference.md from the code
	$(BIN)/python protos/generate.py
	$(BIN)/python docs/generate.py

benchmark: $(INSTALLED)  ## Ratios against a bare pipeline and a bare gRPC server, measured in the same run
	$(BIN)/python -m benchmarks.rpc
	$(BIN)/python -m benchmarks.image
	$(BIN)/python -m benchmarks.durability
	$(BIN)/python -m benchmarks.watchers
	$(BIN)/python -m benchmarks.safety

chaos: $(INSTALLED)  ## Kills, freezes and restarts the parts of a real stack under load, and checks what clients were told
	$(BIN)/python -W ignore -m benchmarks.chaos --minutes 10

mutants: $(INSTALLED)  ## Breaks one rule of durable jobs at a time: some test must notice
	$(BIN)/python -m benchmarks.mutants

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Atelier needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV): 2 GB, mostly torch; one minute or several"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:  ## Removes what the other commands made here
	rm -rf $(VENV) out build *.egg-info .mypy_cache .ruff_cache .pytest_cache
