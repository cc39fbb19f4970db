# `make demo` and `make test` need nothing done before them: the environment is made on the way (see .ci/environment).

# make test TESTS=tests/trainer          the tests of one folder or file
# make test MARK=                        every test; MARK=slow only the slow ones; MARK="not exhaustive" those of .ci/run
# make test WORKERS=0                    in this process, one test after the other
# make demo PYTHON=/path/to/python3.10   the Python to build .venv with
TESTS ?=
MARK ?= not slow
WORKERS ?= 2
PYTHON ?=
DEMO ?=
export PYTHON

# Where it is set, every process would read and compile TensorFlow's sources again.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: demo test test-airflow lint lock clean help

$(INSTALLED): requirements.lock.txt .ci/minilm.lock.txt pyproject.toml setup.py .ci/environment
	@.ci/environment

demo: $(INSTALLED) ## five simulated days through the real pipeline, then two users asked over REST
	@$(BIN)/warmspan demo $(DEMO)

test: $(INSTALLED) ## the quick tests (TESTS= a folder or file, MARK= a pytest mark expression, empty for all)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(strip $(MARK)),-m "$(MARK)") $(TESTS)

AIRFLOW_LOCK ?= docs/airflow.lock.txt
AIRFLOW := build/$(basename $(notdir $(AIRFLOW_LOCK)))

$(AIRFLOW): $(AIRFLOW_LOCK) | $(INSTALLED)
	@.ci/environment uv venv --quiet --clear --python $(BIN)/python $@
	@.ci/environment uv pip install --quiet --python $@/bin/python --compile-bytecode --require-hashes -r $<

test-airflow: $(INSTALLED) $(AIRFLOW) ## the DAG file in a real Airflow 3, or 2 with AIRFLOW_LOCK=docs/airflow-2.lock.txt
	@WARMSPAN_AIRFLOW_PYTHON=$(CURDIR)/$(AIRFLOW)/bin/python $(BIN)/python -m pytest \
	  tests/pipeline/test_airflow_dag.py tests/pipeline/test_airflow_scheduling.py

lint: $(INSTALLED) ## ruff, its formatter and mypy
	@failed=0; $(BIN)/ruff check . || failed=1; $(BIN)/ruff format --check --quiet . || failed=1; $(BIN)/mypy && exit $$failed

lock: ## write requirements.lock.txt again from pyproject.toml; pinned versions stay (UPGRADE=--upgrade takes the newest)
	@.ci/environment uv pip compile pyproject.toml --extra text --extra s3 --extra gcs --group dev --universal --python-version 3.10 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock.txt $(UPGRADE)
	@! grep -n '://' requirements.lock.txt || { echo "requirements.lock.txt must not hold an address." >&2; exit 1; }

clean: ## remove .venv, caches and what `make demo` has written; your own runs stay
	rm -rf .venv build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find pipeline components trainer serving tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
