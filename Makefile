# What a developer, a user and the build server type. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deps check build run run-config test test-cover test-cover-html fmt fmt-check lint docs supply-chain sim chaos fortunes bench demo-local demo-local-stop clean
.PHONY: docker-build docker-run demo demo-logs demo-status demo-send demo-watch demo-partition demo-heal demo-kill demo-verify demo-stop demo-clean

# Where rustup puts cargo, for shells that were opened before it was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# Of the tools of the gate. Newer ones may count or complain otherwise.
LLVM_COV_VERSION := 0.9.1
DENY_VERSION := 0.20.2
GRPCIO_VERSION := 1.85.1
PYTHON := target/python/bin/python3
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CARGO ?= cargo
CARGO_FLAGS := --locked -j $(JOBS)
CONFIG ?= example-config.yaml
SCHEDULES ?= 2000
SEEDS ?= 5
ARGS ?=

# The Docker demo. COMPOSE is found where it is not given: docker compose, or docker-compose.
COMPOSE ?=
IMAGE ?= p2pd
PROFILE ?= release
PEER ?= bootstrap
TEXT ?= hello from $(PEER)
# What demo-connect-* opens in the container: the chat, or where nobody types, a line of stdin is a message.
CHAT ?= if [ -t 0 ] && [ -t 1 ]; then exec p2pctl chat; else exec p2pctl send -q -l; fi
DOCKER_DEMO = COMPOSE="$(COMPOSE)" P2PD_IMAGE="$(IMAGE)" P2PD_PROFILE="$(PROFILE)" tests/demo/docker.sh

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-23s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What the gate needs beyond cargo: cargo-deny, a tool that counts lines, and the LLVM tools that it calls. rustup's belong to the
# compiler; where these cannot be had, Debian's read the same files. Shells and Python's gRPC are for a test each, which says that it
# is skipped where they are not there: so nobody is asked for a password to get them, and without them the gate goes on.
deps: ## Install what is missing: a C compiler, LLVM's tools, shells (Debian), cargo-llvm-cov, cargo-deny, grpcio; says how to get cargo
	@wanted=; \
	if ! command -v cc >/dev/null; then wanted="$$wanted gcc libc6-dev make"; fi; \
	if ! tests/cover.sh --tools 2>/dev/null && ! timeout 60 rustup component add llvm-tools >/dev/null 2>&1 </dev/null; then \
	    wanted="$$wanted llvm-19"; \
	fi; \
	if [ -n "$$wanted" ]; then \
	    if ! command -v apt-get >/dev/null; then echo "missing, please install: $$wanted" >&2; exit 1; fi; \
	    root=; if [ "$$(id -u)" != 0 ]; then root=sudo; fi; \
	    $$root apt-get update -q; \
	    $$root apt-get install -qy --no-install-recommends $$wanted; \
	fi
	@if ! command -v $(CARGO) >/dev/null; then \
	    echo "cargo is needed; get it with: curl -sSf https://sh.rustup.rs | sh -s -- -y" >&2; exit 1; \
	fi
	@if ! $(CARGO) fmt --version >/dev/null 2>&1 || ! $(CARGO) clippy --version >/dev/null 2>&1; then \
	    echo "rustfmt and clippy are needed; get them with: rustup component add rustfmt clippy" >&2; exit 1; \
	fi
	@if ! $(CARGO) llvm-cov --version >/dev/null 2>&1; then \
	    $(CARGO) install --locked -j $(JOBS) cargo-llvm-cov@$(LLVM_COV_VERSION); \
	fi
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) install --locked -j $(JOBS) cargo-deny@$(DENY_VERSION); \
	fi
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v zsh && command -v fish; } >/dev/null; then \
	    { timeout 120 apt-get update -q && timeout 300 apt-get install -qy --no-install-recommends zsh fish; } >/dev/null 2>&1 \
	        || echo "no zsh and fish: their completions are not tested"; \
	fi
	@if ! $(PYTHON) -c "import grpc_reflection" 2>/dev/null; then \
	    { python3 -m venv target/python && timeout 300 $(PYTHON) -m pip install -q --disable-pip-version-check \
	        grpcio==$(GRPCIO_VERSION) grpcio-reflection==$(GRPCIO_VERSION); } >/dev/null 2>&1 \
	        || echo "no grpcio for Python: its example is not tested"; \
	fi

# The tests are run with their lines counted, instead of twice.
check: deps fmt-check lint docs supply-chain test-cover ## The whole gate: format, clippy, documentation, licences, all tests, coverage

build: ## Build both programs
	$(CARGO) build $(CARGO_FLAGS)

run: ## Run a daemon: make run ARGS="--name alice"
	$(CARGO) run $(CARGO_FLAGS) --bin p2pd -- $(ARGS)

run-config: ## Run a daemon with a configuration file: make run-config CONFIG=FILE
	$(CARGO) run $(CARGO_FLAGS) --bin p2pd -- -c $(CONFIG) $(ARGS)

# The tests run the real programs, so these are built first.
test: build ## Run all tests
	$(CARGO) test $(CARGO_FLAGS) --workspace --lib --bins --tests --no-fail-fast

test-cover: ## Run all tests and show which share of our lines they reach; fails where it has become less
	JOBS=$(JOBS) tests/cover.sh

test-cover-html: ## The same, and every line of it: target/cover/html/index.html
	JOBS=$(JOBS) tests/cover.sh --html

# Advisories only where their database can be had: it lies in another repository, and the gate works without a network.
supply-chain: ## Licences and sources of what we link in, and known holes if their database can be fetched
	$(CARGO) deny --locked check bans licenses sources
	@if timeout 60 $(CARGO) deny --locked fetch db >/dev/null 2>&1 </dev/null; then \
	    $(CARGO) deny --locked check advisories; \
	else \
	    echo "advisories: not looked at, for their database cannot be fetched from here"; \
	fi

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

lint: ## Clippy on everything; a warning is an error
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

docs: export RUSTDOCFLAGS := -D warnings
docs: ## Build the documentation
	$(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps

sim: ## Run the simulator: make sim SCHEDULES=2000 ARGS="--seed 7", or a day of partitions: ARGS="--long 24"
	$(CARGO) run $(CARGO_FLAGS) -p p2p-tests --bin sim -- --schedules $(SCHEDULES) $(ARGS)

# Root with iproute2 and iptables gets namespaces of the kernel, everybody else a fault proxy on loopback.
chaos: build ## Torment six real daemons: make chaos SEEDS=20 ARGS="--time 60s", or ARGS="--seed 7"
	$(CARGO) run $(CARGO_FLAGS) -p p2p-tests --bin chaos -- --seeds $(SEEDS) $(ARGS)

fortunes: build ## Send every text of Debian's fortunes through six peers, with and without kill -9
	tests/fortunes.sh --install
	tests/fortunes.sh --kill

bench: ## Measure six peers: make bench ARGS="--quick"; ARGS=--record keeps the figures
	$(CARGO) build $(CARGO_FLAGS) --release -p p2pd -p p2pctl -p p2p-tests --bin p2pd --bin p2pctl --bin bench
	target/release/bench --bin target/release $(ARGS)

.PHONY: scale
# Fifty daemons take 1 GiB and 5,000 open sockets together; the five meshes ten minutes.
scale: ## Measure meshes of 5 to 50 peers: make scale ARGS="--peers 5,50"; ARGS=--record keeps the figures
	$(CARGO) build $(CARGO_FLAGS) --release -p p2pd -p p2p-tests --bin p2pd --bin scale
	target/release/scale --bin target/release $(ARGS)

demo-local: build ## Six peers as processes: start them and see a line arrive at all
	tests/demo/local.sh start

demo-local-stop: ## Stop the six peers and remove what they wrote
	tests/demo/local.sh stop

docker-build: ## Build the image: make docker-build IMAGE=p2pd PROFILE=release
	docker build --build-arg PROFILE=$(PROFILE) -t $(IMAGE) .

docker-run: ## Run one peer of the image, with the volume p2pd: make docker-run ARGS="--name alice -p HOST:8080"
	@$(DOCKER_DEMO) run $(ARGS)

demo: ## Six peers in containers: build and start them, wait until all are linked, and see what to type
	@$(DOCKER_DEMO) start

demo-logs: ## Follow what the six log
	@$(DOCKER_DEMO) logs

demo-status: ## Show each of the six: health, links, posts, digest
	@$(DOCKER_DEMO) status

DEMO_CONNECT := $(addprefix demo-connect-,bootstrap peer1 peer2 peer3 peer4 peer5)
.PHONY: $(DEMO_CONNECT)
# One line each, for the list of targets.
demo-connect-bootstrap: ## Talk at bootstrap: p2pctl chat, or CHAT; /quit leaves
demo-connect-peer1: ## Talk at peer1; demo-connect-peer2 to demo-connect-peer5 too
$(DEMO_CONNECT): export CHAT := $(CHAT)
$(DEMO_CONNECT): demo-connect-%:
	@$(DOCKER_DEMO) connect $*

demo-send: export TEXT := $(TEXT)
demo-send: ## Say one line: make demo-send PEER=peer5 TEXT="hello"
	@$(DOCKER_DEMO) send $(PEER)

demo-watch: ## Watch at one: make demo-watch PEER=peer2
	@$(DOCKER_DEMO) watch $(PEER)

demo-partition: ## Cut peer3, peer4 and peer5 off from the others, for real
	@$(DOCKER_DEMO) partition

demo-heal: ## Join both sides again, and wait until they hold the same
	@$(DOCKER_DEMO) heal

demo-kill: ## Kill one with kill -9, and start it again: make demo-kill PEER=peer3
	@$(DOCKER_DEMO) kill $(PEER)

demo-verify: ## Show that all six hold the same history; exit 1 and who differs, if not
	@$(DOCKER_DEMO) verify

demo-stop: ## End the six; what was said stays
	@$(DOCKER_DEMO) stop

demo-clean: ## End the six and remove all they had: volumes, networks, image. Nothing of anybody else
	@$(DOCKER_DEMO) clean

# Where things go, and how a package is packed. BIN_DIR holds programs that are built already; without it they are built
# for release.
PREFIX ?= /usr/local
DESTDIR ?=
BIN_DIR ?=
DEB_DIR ?= target/deb
DEB_COMPRESSION ?= xz
BUILT = $(or $(BIN_DIR),target/release)
INSTALL = BIN_DIR=$(BUILT) DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) DEB_DIR=$(DEB_DIR) DEB_COMPRESSION=$(DEB_COMPRESSION) \
	p2pd/systemd/install.sh
.PHONY: release install uninstall deb

release: ## Build both programs for release
	$(CARGO) build $(CARGO_FLAGS) --release

install: $(if $(BIN_DIR),,release) ## Install programs, manual, completions and the service: make install PREFIX=/usr DESTDIR=DIR
	$(INSTALL) install
	@if [ -z "$(DESTDIR)" ]; then \
	    echo "to run it as a service: systemd-sysusers && systemctl daemon-reload && systemctl enable --now p2pd"; \
	fi

uninstall: ## Remove what was installed; configuration and data stay
	$(INSTALL) uninstall

deb: $(if $(BIN_DIR),,release) ## Make a Debian package: target/deb/p2pd_VERSION_ARCH.deb
	@$(INSTALL) deb

clean: demo-local-stop ## Remove what was built, and the demo
	$(CARGO) clean
