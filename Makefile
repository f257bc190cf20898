# Weft. `make demo` and `make test` are all a newcomer needs; both run as root on Debian with a Swift toolchain.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Static programs: one file each, no library at run time, the quickest start.
RELEASE := -c release -Xswiftc -static-executable
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNIT_DIR ?= $(PREFIX)/lib/systemd/system
CNI_BIN_DIR ?= /opt/cni/bin
CNI_CONF_DIR ?= /etc/cni/net.d
DESTDIR ?=
# The built programs.
BIN ?= bin
COMMA := ,

BUILD_PACKAGES := binutils libyaml-dev
DEMO_PACKAGES := iproute2 containernetworking-plugins iptables nftables
RUNTIME_PACKAGES := containerd runc podman conmon busybox-static
IMAGE_PACKAGES := buildah iptables nftables netbase
TEST_PACKAGES := $(DEMO_PACKAGES) $(RUNTIME_PACKAGES) $(IMAGE_PACKAGES) conntrack openssl systemd util-linux procps iputils-ping
SOURCES := $(shell find Sources -name '*.swift' -o -name '*.c' -o -name '*.h') Package.swift
FORMATTED := Package.swift Sources Tests Benchmarks Fuzz
CNI_PLUGINS := flannel bridge host-local loopback portmap

.PHONY: all build test demo bench fmt lint install uninstall clean fuzz modules image manifest
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

# For a machine without Kubernetes. INSTALL_PLUGINS: `flannel` alone, since the others usually come from the distribution;
# `all`, or names separated by commas. Somebody else's plugins are not replaced, except `flannel`. With DESTDIR everything
# is laid out there for a package.
INSTALL_PLUGINS ?= flannel
install: build
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(BIN)/weft $(BIN)/weft-cni
	ln -sfn weft $(DESTDIR)$(PREFIX)/bin/flanneld
	install -D -m 0644 packaging/weft.service $(DESTDIR)$(UNIT_DIR)/weft.service
	sed -i 's|/usr/local/bin/|$(PREFIX)/bin/|; s|/etc/weft/|$(SYSCONFDIR)/weft/|' $(DESTDIR)$(UNIT_DIR)/weft.service
	[[ -e $(DESTDIR)$(SYSCONFDIR)/weft/agent.env ]] || \
	  install -D -m 0600 packaging/agent.env $(DESTDIR)$(SYSCONFDIR)/weft/agent.env
ifeq ($(DESTDIR),)
	$(PREFIX)/bin/weft install plugins --bin-dir $(CNI_BIN_DIR) --plugins $(INSTALL_PLUGINS)
else
	for p in $(subst $(COMMA), ,$(INSTALL_PLUGINS:all=$(CNI_PLUGINS))); do \
	  install -D -m 0755 $(BIN)/weft-cni $(DESTDIR)$(CNI_BIN_DIR)/$$p; \
	done
endif

# Stop the agent first: systemctl disable --now weft. Its flags in $(SYSCONFDIR)/weft and the network stay; `weft uninstall
# --purge`, before this, takes the network away.
uninstall:
ifeq ($(DESTDIR),)
	$(PREFIX)/bin/weft uninstall --bin-dir $(CNI_BIN_DIR) --conf-dir $(CNI_CONF_DIR)
else
	rm -f $(addprefix $(DESTDIR)$(CNI_BIN_DIR)/,$(CNI_PLUGINS))
endif
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,weft weft-cni flanneld) $(DESTDIR)$(UNIT_DIR)/weft.service

# Coverage-guided fuzzing of what is read from outside, for FUZZ_SECONDS.
FUZZ_SECONDS ?= 60
fuzz:
	WEFT_FUZZ=1 swift build --scratch-path .build-fuzz
	mkdir -p .build-fuzz/found
	.build-fuzz/debug/fuzz .build-fuzz/found Fuzz/Corpus/* -max_total_time=$(FUZZ_SECONDS)

clean:
	rm -rf .build bin
