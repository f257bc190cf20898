# Weft. `make demo` and `make test` are all a newcomer needs; both run as root on Debian with a Swift toolchain.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Static programs: one file each, no library at run time, the quickest start.
RELEASE := -c release -Xswiftc -static-executable
PREFIX ?= /usr/local
CNI_BIN_DIR ?= /opt/cni/bin
DESTDIR ?=

BUILD_PACKAGES := binutils libyaml-dev
DEMO_PACKAGES := iproute2 containernetworking-plugins iptables nftables
RUNTIME_PACKAGES := containerd runc podman conmon busybox-static
IMAGE_PACKAGES := buildah iptables nftables netbase
TEST_PACKAGES := $(DEMO_PACKAGES) $(RUNTIME_PACKAGES) $(IMAGE_PACKAGES) conntrack openssl util-linux procps iputils-ping
SOURCES := $(shell find Sources -name '*.swift' -o -name '*.c' -o -name '*.h') Package.swift
FORMATTED := Package.swift Sources Tests Benchmarks Fuzz
CNI_PLUGINS := flannel bridge host-local loopback portmap

.PHONY: all build test demo bench fmt lint install clean fuzz modules image manifest
.PHONY: packages-build packages-demo packages-image packages-test
all: build

packages-build: ; @scripts/install-packages $(BUILD_PACKAGES)
packages-demo: ; @scripts/install-packages $(BUILD_PACKAGES) $(DEMO_PACKAGES)
packages-image: ; @scripts/install-packages $(BUILD_PACKAGES) $(IMAGE_PACKAGES)
packages-test:
	@scripts/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@scripts/install-kubernetes-tools

build: packages-build bin/weft bin/weft-cni

bin/weft bin/weft-cni &: $(SOURCES)
	swift build $(RELEASE) --product weft
	swift build $(RELEASE) --product weft-cni
	mkdir -p bin/cni
	for p in weft weft-cni; do strip -o bin/.$$p "$$(swift build $(RELEASE) --show-bin-path)/$$p"; mv -f bin/.$$p bin/$$p; done
	for p in $(CNI_PLUGINS); do ln -f bin/weft-cni bin/cni/$$p; done

# Where br_netfilter is a module, the agent insists on it (as flanneld does); a machine without modules has it built in.
modules:
	@modprobe -q br_netfilter 2>/dev/null || true

# For instance DEMO_FLAGS="--nftables --dual-stack".
DEMO_FLAGS ?=
demo: packages-demo build modules
	bin/weft lab demo $(DEMO_FLAGS)

# The tests run against the programs that are shipped.
test: packages-test build modules
	swift build --build-tests
	WEFT_BIN_DIR=$(CURDIR)/bin swift test --skip-build

bench: packages-test build
	swift build $(RELEASE) --product cni-bench
	swift build $(RELEASE) --product agent-bench
	Benchmarks/run

# bin/weft-image.tar, the image for Kubernetes.
image: packages-image build
	scripts/build-image bin/weft-image.tar

# The plain manifest is the chart with its defaults.
manifest:
	scripts/render-manifest > deploy/weft.yml

fmt:
	swift format --in-place --recursive --parallel $(FORMATTED)

lint:
	swift format lint --strict --recursive --parallel $(FORMATTED)

# By default only `flannel` goes to the plugin directory: the others usually come from the distribution.
# `make install INSTALL_PLUGINS="flannel bridge host-local loopback portmap"` installs all of ours.
INSTALL_PLUGINS ?= flannel
install: build
	install -D -m 0755 bin/weft $(DESTDIR)$(PREFIX)/bin/weft
	ln -sf weft $(DESTDIR)$(PREFIX)/bin/flanneld
	install -D -m 0755 bin/weft-cni $(DESTDIR)$(CNI_BIN_DIR)/.weft-cni.new
	cd $(DESTDIR)$(CNI_BIN_DIR) && for p in $(INSTALL_PLUGINS); do ln -f .weft-cni.new .$$p.new && mv -f .$$p.new $$p; done; rm -f .weft-cni.new

# Coverage-guided fuzzing of what is read from outside, for FUZZ_SECONDS.
FUZZ_SECONDS ?= 60
fuzz:
	WEFT_FUZZ=1 swift build --scratch-path .build-fuzz
	mkdir -p .build-fuzz/found
	.build-fuzz/debug/fuzz .build-fuzz/found Fuzz/Corpus/* -max_total_time=$(FUZZ_SECONDS)

clean:
	rm -rf .build bin
