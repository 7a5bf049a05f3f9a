# What a developer, a user and the build server type. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deps check build run run-config test fmt fmt-check lint docs sim chaos fortunes bench demo-local demo-local-stop clean

# Where rustup puts cargo, for shells that were opened before it was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CARGO ?= cargo
CARGO_FLAGS := --locked -j $(JOBS)
CONFIG ?= example-config.yaml
SCHEDULES ?= 2000
SEEDS ?= 5
ARGS ?=

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install what the build needs and is not there: a C compiler (Debian); says how to get cargo
	@if ! command -v cc >/dev/null; then \
	    if ! command -v apt-get >/dev/null; then echo "a C compiler is needed: install gcc or clang" >&2; exit 1; fi; \
	    root=; if [ "$$(id -u)" != 0 ]; then root=sudo; fi; \
	    $$root apt-get update -q; \
	    $$root apt-get install -qy --no-install-recommends gcc libc6-dev make; \
	fi
	@if ! command -v $(CARGO) >/dev/null; then \
	    echo "cargo is needed; get it with: curl -sSf https://sh.rustup.rs | sh -s -- -y" >&2; exit 1; \
	fi
	@if ! $(CARGO) fmt --version >/dev/null 2>&1 || ! $(CARGO) clippy --version >/dev/null 2>&1; then \
	    echo "rustfmt and clippy are needed; get them with: rustup component add rustfmt clippy" >&2; exit 1; \
	fi

check: fmt-check lint docs test ## The whole gate: format, clippy, documentation, tidy, all tests

build: ## Build both programs
	$(CARGO) build $(CARGO_FLAGS)

run: ## Run a daemon: make run ARGS="--name alice"
	$(CARGO) run $(CARGO_FLAGS) -p p2pd -- $(ARGS)

run-config: ## Run a daemon with a configuration file: make run-config CONFIG=FILE
	$(CARGO) run $(CARGO_FLAGS) -p p2pd -- -c $(CONFIG) $(ARGS)

# The tests run the real programs, so these are built first.
test: build ## Run all tests
	$(CARGO) test $(CARGO_FLAGS) --workspace --lib --bins --tests --no-fail-fast

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

bench: ## Measure six peers: make bench ARGS="--quick"
	$(CARGO) build $(CARGO_FLAGS) --release -p p2pd -p p2pctl -p p2p-tests --bin p2pd --bin p2pctl --bin bench
	target/release/bench --bin target/release $(ARGS)

demo-local: build ## Six peers as processes: start them and see a line arrive at all
	tests/demo/local.sh start

demo-local-stop: ## Stop the six peers and remove what they wrote
	tests/demo/local.sh stop

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
