# beemesh: every task by name. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RELEASE := target/$(HOST)/release
# Static programs run in any image and in any root; build scripts and macros stay dynamic because --target is given.
STATIC := RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target $(HOST)

# What demo, tests and stories run has one profile and one set of features, so that each dependency is compiled once for all of
# them: a choice among examples, of which there is none, makes Cargo join in the features of dev-dependencies, as tests do.
DEV := --locked --workspace --examples
# The static programs of the stories' image: only what is ours is compiled anew (image/rustc-static); its programs are apart.
DEV_STATIC := RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/image/rustc-static CARGO_BUILD_BUILD_DIR=$(CURDIR)/target \
	CARGO_TARGET_DIR=$(CURDIR)/target/static cargo build $(DEV)
IMAGE_PROGRAMS := beemesh beemesh-cni beemesh-node beemesh-operator

RUN_PACKAGES := iproute2 nftables
TEST_PACKAGES := $(RUN_PACKAGES) containernetworking-plugins frr iptables iputils-ping procps util-linux
E2E_PACKAGES := $(TEST_PACKAGES) busybox-static conntrack containerd curl dash iperf3 \
	runc socat tcpdump traceroute
BENCH_PACKAGES := $(TEST_PACKAGES) python3-venv

# $(call packages,LIST): installs what is missing, and asks no package server when nothing is. No service is started by that.
define packages
@if ! command -v dpkg-query >/dev/null; then \
	echo "not a Debian system: please see that these are installed: $(1)"; \
else \
	missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		[ "$$(id -u)" = 0 ] || { echo "run as root, or install: $$missing"; exit 1; }; \
		echo "installing" $$missing; \
		if [ ! -e /usr/sbin/policy-rc.d ]; then \
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d; \
		fi; \
		apt-get update -q >/dev/null; \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing >/dev/null; \
	fi; \
fi
endef

# Built once by Go into a cache outside the tree, see e2e/tools/fill; KUBEBUILDER_ASSETS is honoured first.
TEST_PROGRAMS := etcd kube-apiserver kubectl kube-controller-manager helm kubeconform helm-docs promcheck
CLUSTER_PROGRAMS := etcd kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet kube-proxy helm coredns \
	containerd containerd-shim-runc-v2 ctr cni-ptp cni-host-local cni-loopback
BENCH_PROGRAMS := etcd kube-apiserver kubectl kwok

# $(call programs,LIST): a line for each, with the time that its build took.
define programs
@if reason=$$(e2e/tools/fill --check 2>&1); then e2e/tools/fill --verbose $(1) >/dev/null; \
else echo "$$reason"; echo "without $(1) the tests that need them are reported as ignored"; fi
endef

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## static programs: beemesh, beemesh-cni, beemesh-node and beemesh-operator
	$(STATIC) -p beemesh-ctl -p beemesh-cni -p beemesh-node -p beemesh-operator
	@ls -sh $(RELEASE)/beemesh $(RELEASE)/beemesh-cni $(RELEASE)/beemesh-node $(RELEASE)/beemesh-operator

.PHONY: operator
operator: ## the static beemesh-operator alone
	$(STATIC) -p beemesh-operator
	@ls -sh $(RELEASE)/beemesh-operator

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

.PHONY: image-programs
image-programs:
	$(STATIC) -p beemesh-ctl -p beemesh-cni -p beemesh-node -p beemesh-operator

.PHONY: image
image: image-programs ## the container image as an archive, without a container engine: target/beemesh-image.tar
	image/archive $(RELEASE) localhost/beemesh:$(VERSION) >target/beemesh-image.tar
	@ls -sh target/beemesh-image.tar

PREFIX ?= /usr/local
# Built before, by somebody who has cargo: root by sudo has none.
BUILT = $(firstword $(wildcard target/*-linux-*/release/beemesh))

.PHONY: install
install: ## beemesh, also as kubectl's plugin, to PREFIX/bin (default /usr/local), after `make build`
	@[ -n "$(BUILT)" ] || { echo "nothing is built yet: make build first, as the user who has cargo"; exit 1; }
	install -D $(BUILT) $(DESTDIR)$(PREFIX)/bin/beemesh
	ln -sf beemesh $(DESTDIR)$(PREFIX)/bin/kubectl-beemesh
	ln -sf beemesh $(DESTDIR)$(PREFIX)/bin/kubectl_complete-beemesh

.PHONY: manifests
manifests: ## the chart as plain manifests, to standard output
	@command -v helm >/dev/null || e2e/tools/fill helm >/dev/null
	@printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: beemesh-system\n  labels:\n'
	@for mode in enforce audit warn; do printf '    pod-security.kubernetes.io/%s: privileged\n' $$mode; done
	@PATH=$$PATH:$$(command -v helm >/dev/null || e2e/tools/fill helm) && helm template beemesh charts/beemesh \
		--namespace beemesh-system --include-crds --no-hooks --kube-version v1.33.0

.PHONY: demo
demo: ## the main job on this machine alone: a topology up, broken, healed, gone
	$(call packages,$(RUN_PACKAGES))
	cargo build $(DEV) --bin beemesh --bin beemesh-cni
	@examples/demo.sh target/debug/beemesh

.PHONY: test
test: ## unit, property, golden, kernel, CNI, lab tests (root for these), operator and chart (Go 1.26 for these)
	$(call packages,$(TEST_PACKAGES))
	@$(MAKE) --no-print-directory test-programs test-build
	@.ci/count cargo test --locked --workspace --no-fail-fast

.PHONY: test-build
test-build:
	cargo build --locked --workspace --all-targets

.PHONY: fetch
fetch: ## download all that is built here, and build nothing
	cargo fetch --locked
	@! e2e/tools/fill --check >/dev/null 2>&1 || e2e/tools/fill --fetch $(sort $(TEST_PROGRAMS) $(CLUSTER_PROGRAMS))

.PHONY: test-programs cluster-programs
test-programs:
	$(call programs,$(TEST_PROGRAMS))
cluster-programs:
	$(call programs,$(CLUSTER_PROGRAMS))

.PHONY: e2e-packages e2e-build e2e-image
e2e-packages:
	$(call packages,$(E2E_PACKAGES))
e2e-build: e2e-packages cluster-programs
	cargo build $(DEV) --bins
e2e-image:
	$(DEV_STATIC) $(addprefix --bin ,$(IMAGE_PROGRAMS))
	@mkdir -p target/e2e
	image/archive target/static/debug localhost/beemesh:$(VERSION) >target/e2e/beemesh-image.tar

# On a disk or a volume: a container's own root is an overlay, which nodes' disks cannot be on.
E2E_DIR ?= /var/tmp/beemesh-e2e

.PHONY: e2e
e2e: e2e-build e2e-image ## all user stories on a real cluster of three nodes that comes and goes (root, Go 1.26), or on that of KUBECONFIG
	@BEEMESH_IMAGE=$${BEEMESH_IMAGE:-$(CURDIR)/target/e2e/beemesh-image.tar} BEEMESH_CTL=$${BEEMESH_CTL:-$(CURDIR)/target/static/debug/beemesh} \
		.ci/count target/debug/beemesh-e2e $(if $(KUBECONFIG),,--dir $(E2E_DIR)-stories) stories --fresh --clusters 2 $(STORIES)

.PHONY: cluster-up
cluster-up: e2e-build ## a real cluster of three nodes on this machine, to try things; `target/debug/beemesh-e2e --help` uses it
	target/debug/beemesh-e2e --dir $(E2E_DIR) up

.PHONY: cluster-down
cluster-down: ## take it down; nothing but its logs is left
	target/debug/beemesh-e2e --dir $(E2E_DIR) down

.PHONY: bench
bench: ## measure beside the peers; writes target/bench.json
	$(call packages,$(BENCH_PACKAGES))
	$(call programs,$(BENCH_PROGRAMS))
	@$(MAKE) --no-print-directory build
	$(STATIC) -p beemesh-benches
	@benches/run $(RELEASE)

# Members that other members use, as Cargo has it: with the features that they ask for themselves, and no others, each compiles.
LIBRARIES = $(shell cargo tree --locked --workspace --depth 1 --edges normal --prefix depth | \
	awk '/^1beemesh-/ {print substr($$1, 2)}' | sort -u)

.PHONY: check
check: ## format, lints, docs, each library alone, licences
	cargo fmt --all --check
	.ci/count-test
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(DEV) --lib --bins --no-deps --document-private-items
	@libraries="$(LIBRARIES)"; [ -n "$$libraries" ] || { echo "cargo tree names no member that another one uses"; exit 1; }; \
	for crate in $$libraries; do echo "alone: $$crate"; cargo check -q --locked -p $$crate; done
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; \
	else echo "licences and advisories NOT checked: cargo-deny is not installed (cargo install --locked cargo-deny)"; fi

.PHONY: mutants mutants-sample
mutants: ## mutants of the pure code that no test catches (cargo-mutants, hours); AREA=topology, bfd, crds, dataplane, node, operator
	.ci/mutants $(AREA)
mutants-sample:
	.ci/mutants --sample $(or $(TURN),0) 300

.PHONY: generate
generate: ## remake what is generated: golden files, the chart's README, the pictures in docs/
	UPDATE_GOLDEN=1 cargo test -q --locked -p beemesh-topology -p beemesh-ctl golden
	UPDATE_GOLDEN=1 cargo test -q --locked -p beemesh-crds --test suite yaml
	$$(e2e/tools/fill helm-docs)/helm-docs --chart-search-root charts --log-level warning
	UPDATE_GOLDEN=1 cargo test -q --locked -p beemesh-operator --test chart golden
	cargo build -q $(DEV) --bin beemesh && UPDATE_GOLDEN=1 cargo test -q --locked -p beemesh-operator --test transcript
	cargo run -q --locked -p beemesh-ctl -- graph -f examples/iot.yaml --stage spt --from plant-a -o svg > docs/iot.svg

.PHONY: clean
clean: ## remove what was built
	cargo clean
