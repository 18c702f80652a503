# Each verb is one documented line; the work is done by the programs that they call.
.DEFAULT_GOAL := help
.PHONY: help up down status logs tools ready distribution images test soak e2e e2e-browser lint format docs lock clean
.PHONY: bench-logs
.PHONY: k8s-init k8s-preflight k8s-deploy k8s-render k8s-diff k8s-status k8s-logs k8s-rollback
.PHONY: k8s-push k8s-backup k8s-restore k8s-rotate k8s-delete
PYTHON := $(or $(shell command -v python3),$(shell command -v python3.13 || command -v python3.12 || command -v python3.11))
SUITES := $(filter-out e2e support __pycache__,$(notdir $(patsubst %/,%,$(wildcard tests/*/))))
# Which way to run: containers where a Docker engine answers, else processes.
ifneq (,$(filter up down status logs clean,$(MAKECMDGOALS)))
RUN ?= $(shell docker version >/dev/null 2>&1 && echo compose || echo embedded)
RUN := $(or $(filter embedded compose,$(RUN)),$(error RUN=$(RUN): should be embedded or compose))
endif
STACK := .venv/bin/python -m jld_$(RUN)
PREPARED := .venv/bin/python -P -c 'import jld_$(RUN)' 2>/dev/null
K8S := .venv/bin/python -m jld_k8s
SITE = $(or $(OVERLAY),$(error OVERLAY=: demo, or a site that make k8s-init has made))
CODE := hub lab fileserver filebeat logstash nginx dev k8s bench tests

help: ## print these verbs
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*%?:.*## / {sub("%", "<suite>", $$1); printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo "  suites: $(SUITES)"

up: $(if $(filter compose,$(RUN)),tools,ready distribution) ## start the whole stack, or what of it does not run, and say where it is
	@$(STACK) up $(if $(DEV),--dev)

down: ## end all of the stack, labs too
	@if $(PREPARED); then $(STACK) down; else echo "nothing runs: make up has not come so far here"; fi

status: ## show each part, since when it runs and whether it is ready
	@if $(PREPARED); then $(STACK) status; else echo "not running: make up has not come so far here"; exit 3; fi

logs: tools ## follow the events as they arrive at the broker; service=hub (or lab) and member=alice choose
	@$(STACK) logs $(if $(service),--service '$(service)') $(if $(member),--member '$(member)')

ready tools:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 to 3.13 is needed (Debian, Ubuntu: apt install python3 python3-venv)"; exit 1; fi
	@$(PYTHON) dev/bootstrap.py $(if $(filter tools,$@),packages components)

distribution: ready
	@$(PYTHON) -m dev.distribution

test: ready ## run every suite but the end-to-end one
	@.venv/bin/pytest tests --ignore=tests/e2e --numprocesses 2 --dist loadfile

test-%: ready ## run one suite
	@.venv/bin/pytest tests/$*

soak: ready ## look for lost log lines while parts are killed and cut off; ROUNDS=20 SEED=abc
	@PYTHONPATH=tests/support .venv/bin/python -P -m soak --rounds '$(or $(ROUNDS),1000)' $(if $(SEED),--seed '$(SEED)')

images: tools ## build the images of all components, and print their sizes
	@.venv/bin/python -P dev/images.py

e2e: ready ## run the end-to-end suite against a stack of its own; target=embedded, compose or cluster
	@.venv/bin/pytest tests/e2e --target=$(or $(target),embedded)

e2e-browser: ready ## run only those of it that use a browser
	@command -v chromium >/dev/null || { echo "Chromium is needed (Debian: apt install chromium)"; exit 1; }
	@.venv/bin/pytest tests/e2e --target=$(or $(target),embedded) -m browser

bench-logs: ready distribution ## compare shipper and collector with others; CASES="a c" RUNS=1 LINES=20000 choose
	@PYTHONPATH=. .venv/bin/python bench/logs $(if $(CASES),--cases $(CASES)) $(if $(RUNS),--runs $(RUNS)) \
	  $(if $(LINES),--lines $(LINES)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(JSON),--json '$(JSON)')

k8s-init: tools ## make the folder of a site of yours, NAME; OVERLAY=production or demo
	@$(K8S) init '$(or $(NAME),$(error NAME=: a name for the site))' $(if $(OVERLAY),--overlay '$(OVERLAY)')

k8s-preflight k8s-render k8s-diff k8s-deploy: tools
	@$(K8S) $(@:k8s-%=%) '$(SITE)'

k8s-preflight: ## say what must be put right before a site, OVERLAY, can be rolled out
k8s-render: ## print the manifests of a site
k8s-diff: ## show what k8s-deploy would change
k8s-deploy: ## roll a site out on the cluster that KUBECONFIG names, or bring it up to date

k8s-status: tools ## show each part on the cluster, and whether it is ready
	@$(K8S) status

k8s-logs: tools ## follow the logs of service=hub (or lab, with member=alice) on the cluster
	@$(K8S) logs $(if $(service),--service '$(service)') $(if $(member),--member '$(member)')

k8s-rollback: tools ## go back to the release before the last, or to RELEASE=3
	@$(K8S) rollback $(if $(RELEASE),--release '$(RELEASE)')

k8s-push: tools ## push the images of a site into REGISTRY, and name them by their digests from then on
	@$(K8S) push '$(SITE)' '$(or $(REGISTRY),$(error REGISTRY=: host, port and folder of a registry))'

k8s-backup: tools ## copy the hub's database and the homes into a new folder, DIR
	@$(K8S) backup '$(or $(DIR),$(error DIR=: a folder that is not there yet))'

k8s-restore: tools ## put database and homes back from DIR, CONFIRM=the site's name; labs end
	@$(K8S) restore '$(SITE)' '$(or $(DIR),$(error DIR=: a folder that make k8s-backup has made))' --confirm '$(CONFIRM)'

k8s-rotate: tools ## make secrets of a site anew: SECRET=pipeline, or several with commas
	@$(K8S) rotate '$(SITE)' '$(or $(SECRET),$(error SECRET=: see k8s/README.md))'

k8s-delete: tools ## remove a site, CONFIRM=its name; homes, database and secrets only with DATA=delete too
	@$(K8S) delete '$(SITE)' --confirm '$(CONFIRM)' --data '$(DATA)'

lint: ready ## check style, format and types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy $(wildcard $(CODE))

format: ready ## put the code into form
	@.venv/bin/ruff check --fix-only
	@.venv/bin/ruff format

docs: ready ## write docs/configuration.md from the settings
	@.venv/bin/python dev/configuration.py

lock: ready ## make the locks anew from the pyproject.toml files
	@dev/lock

clean: down ## remove what can be made again: homes, database and secrets stay
	@for made in .venv .stack .bench; do if [ -L $$made ]; then rm -rf "$$(readlink -f $$made)"; fi; rm -rf $$made || exit; done
	@rm -rf hub/proxy/node_modules .mypy_cache .ruff_cache .pytest_cache
	@if [ -d var ]; then rm -rf var/log var/programs var/supervisord.conf var/lock; fi
	@find . -name __pycache__ -prune -exec rm -rf {} +
