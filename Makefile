# Every target of the project; `make help` lists them. CI runs nothing else.
PYTHON ?= python3
SPARK ?= 4.1.4
N ?= 200
SEED ?= 1
SEEDS ?= 1-10
RUNS ?= 30
MINUTES ?= 60
SOURCE ?= files
DEMO ?=
VENV := .venv
VENV_DOCS := .venv-docs
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := operator tests examples

.DEFAULT_GOAL := help
.PHONY: help docs demo test e2e chart test-chart test-kind slow lint types format unit fuzz faults soak day fidelity conformance integration streaming-plant bench bench-watch bench-create bench-many bench-many-real bench-page beside-spark stream stream-page crd released-crds kubernetes-schemas requirements image cluster-up \
	cluster-down cluster-status clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*##"} /^[a-z0-9-]+:.*##/ {printf "  \033[1m%-16s\033[0m%s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "installing the locked requirements into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED)  ## A real Spark job on a real cluster, its executors allocated by the operator
	@$(BIN)/python -m tests.demo --spark $(SPARK) $(DEMO)

test: $(INSTALLED)  ## Everything that can run on this machine, with a line for what was left out and why
	@$(BIN)/python -m tests.everything --spark $(SPARK)

e2e: $(INSTALLED)  ## Only the tests with a real Spark on a real cluster (SPARK=3.5.9 for another version)
	@SPARK=$(SPARK) $(BIN)/python -m pytest tests/e2e -m cluster

slow: $(INSTALLED)  ## Long tests that `make test` leaves out
	@SPARK=$(SPARK) $(BIN)/python -m pytest tests/streams -m slow
	@SPARK=$(SPARK) $(BIN)/python -m pytest tests/integration tests/e2e -m slow

unit: $(INSTALLED)  ## Only the pure tests (seconds)
	@$(BIN)/python -m pytest tests/unit

integration: $(INSTALLED)  ## Only the tests against a real API server
	@$(BIN)/python -m pytest tests/integration -m cluster

test-chart: $(INSTALLED)  ## The Helm chart installed, upgraded under a running job and uninstalled, on a cluster of its own
	@SPARK=$(SPARK) $(BIN)/python -m pytest tests/chart -m slow

test-kind: $(INSTALLED)  ## The same on a kind cluster, where a Docker engine runs
	@$(BIN)/python -m tests.chart.kind

fuzz: $(INSTALLED)  ## Hostile input for every parser, for minutes and different each time (`make test` does a little of it)
	@FUZZ=long $(BIN)/python -m pytest tests/fuzz

faults: $(INSTALLED)  ## Faults from seeds between operator, API server and drivers, for minutes each: SEEDS=1-10
	@$(BIN)/python -m tests.faults --seeds $(SEEDS)

streaming-plant: $(INSTALLED)  ## Rules for streams compared on simulated ones: SEEDS=200, a table for docs/designs/0010-streaming.md
	@$(BIN)/python -m tests.streaming_plant --seeds $(if $(filter file,$(origin SEEDS)),200,$(SEEDS))

soak: $(INSTALLED)  ## Real Spark jobs under such faults, beside Spark's own allocator, for an hour or two: RUNS=30 SEEDS=1-10 (three runs a seed)
	@$(BIN)/python -m tests.soak --seeds $(SEEDS) --runs $(RUNS) --spark $(SPARK)

day: $(INSTALLED)  ## Two hundred applications of a simulated day under faults, in MINUTES=60, with the operator's memory and requests
	@$(BIN)/python -m tests.day --minutes $(MINUTES) --seed $(SEED)

fidelity: $(INSTALLED)  ## Twelve shapes of jobs under two policies each on a real cluster, against what `simulate` makes of their event logs
	@$(BIN)/python -m tests.fidelity --spark $(SPARK)

stream: $(INSTALLED)  ## A real stream at changing rates, with executors by the operator, by Spark and fixed: a table and demo-output/stream.png (SOURCE=kafka reads from a broker)
	@$(BIN)/python -m tests.streams --spark $(SPARK) --source $(SOURCE)

stream-page: $(INSTALLED)  ## Put what the last `make stream` found into docs/howto/streaming.md, with its picture
	@$(BIN)/python -m tests.documents.stream_course

conformance: $(INSTALLED)  ## Compare with Spark's own classes: N=… scenarios of each kind, SPARK=…, SEED=…
	@for kind in eam alloc pod; do \
		$(BIN)/python -m tests.conformance.run --kind $$kind --count $(N) --spark $(SPARK) --seed $(SEED) || exit 1; \
	done

bench: $(INSTALLED)  ## Figures of the core: decisions and events a second, and budgets divided among a thousand applications
	@$(BIN)/python -m tests.perf.bench_core
	@$(BIN)/python -m tests.perf.bench_budgets

bench-watch: $(INSTALLED)  ## Figures of the pods watch: CPU and memory for fifty thousand pods
	@$(BIN)/python -m tests.perf.bench_pods_watch

bench-create: $(INSTALLED)  ## Figures of a creation: CPU of building an executor pod and of asking for it
	@$(BIN)/python -m tests.perf.bench_create --json demo-output/create-memory.json

bench-many: $(INSTALLED)  ## Figures of 10 to 1,000 SparkAllocations in one process, at work, restarted and with another leader (needs two idle cores)
	@$(BIN)/python -m tests.perf.bench_many --json demo-output/many.json
	@$(BIN)/python -m tests.perf.bench_many --applications 100 --restart --foreign 49000 --json demo-output/restart.json
	@$(BIN)/python -m tests.perf.bench_many --applications 1000 --failover --json demo-output/failover.json

beside-spark: $(INSTALLED)  ## How soon executor pods are there on a test cluster, beside Spark's own allocation (15 minutes)
	@$(BIN)/python -m tests.perf.beside_spark --spark $(SPARK) --json demo-output/beside-spark.json

bench-page: $(INSTALLED)  ## Put what the last bench-create, bench-many and beside-spark measured into docs/performance.md, with its pictures
	@$(BIN)/python -m tests.documents.performance_page

bench-many-real: $(INSTALLED)  ## The same at work on a real API server, with pods that kwok plays, beside what the API server and etcd use
	@$(BIN)/python -m tests.perf.bench_many --real --applications 1,10,100,1000 --arrive 10 --json demo-output/many-real.json

lint: $(INSTALLED)  ## ruff, the import contracts, and generated files that are out of date
	@$(BIN)/ruff check --no-cache $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@PYTHONPATH=operator $(BIN)/lint-imports
	@$(BIN)/spark-allocation crd --directory crds --check

types: $(INSTALLED)  ## mypy, strict
	@$(BIN)/mypy

format: $(INSTALLED)  ## Let ruff format and fix
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

crd: $(INSTALLED)  ## Write crds/, docs/reference/api.md and what the chart has of them from the models; then `make chart`
	@$(BIN)/spark-allocation crd --directory crds
	@$(BIN)/python -m tests.documents.api_reference
	@$(BIN)/python -m tests.documents.admission_policies
	@$(BIN)/python -m tests.documents.chart_files

chart: $(INSTALLED)  ## Write what is made from elsewhere into the chart, docs/metrics.md, and deploy/ from the chart
	@$(BIN)/python -m tests.documents.chart_files
	@$(BIN)/python -m tests.documents.metrics_reference
	@$(BIN)/python -m tests.documents.install_manifests
	@$(BIN)/python -m tests.chart.goldens

released-crds:  ## At a release: what is in crds/ is what later versions have to go on taking
	@cp crds/*.yaml tests/chart/released_crds/

kubernetes-schemas: $(INSTALLED)  ## Fetch anew what API servers of several Kubernetes versions say of the kinds that the chart makes
	@$(BIN)/python -m tests.documents.kubernetes_schemas

# not --quiet: what mkdocs does not say it does not count either, and `strict` would pass
docs:  ## Build the documentation into site/, and check every link and that it fetches nothing from elsewhere
	@test -x $(VENV_DOCS)/bin/python || $(PYTHON) -m venv $(VENV_DOCS)
	@$(VENV_DOCS)/bin/python -m pip install --quiet --require-hashes -r requirements/docs.txt
	@NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/mkdocs build --clean
	@$(VENV_DOCS)/bin/python tests/documents/built_site.py site

requirements: $(INSTALLED)  ## Lock the dependencies of pyproject.toml anew, with hashes
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml --output-file requirements/runtime.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		requirements/build.in --output-file requirements/build.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml requirements/build.in --group dev --output-file requirements/dev.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--group docs --output-file requirements/docs.txt

image: $(INSTALLED)  ## Build the operator's image and load it into the test cluster
	@$(BIN)/python -m tests.cluster load-image operator

cluster-up: $(INSTALLED)  ## Bring the test cluster up
	@$(BIN)/python -m tests.cluster up

cluster-down: $(INSTALLED)  ## Take the test cluster down; nothing of it is left
	@$(BIN)/python -m tests.cluster down

cluster-status: $(INSTALLED)  ## Is the test cluster well?
	@$(BIN)/python -m tests.cluster status

clean:  ## Remove what was built here; caches of the test cluster stay
	@rm -rf $(VENV) $(VENV_DOCS) site demo-output dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
