# labctl. The two commands of the README are `make demo` and `make test`; both install what is missing first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(CURDIR)/bin:$(PATH)
export CGO_ENABLED ?= 0

IMAGE     := debian-12-minimal
# Images are built once and shared by all tests; the folder is the tests' only memory and may be deleted at any time.
export LABCTL_TEST_IMAGES ?= /tmp/labctl-test-images-$(shell id -u)
# No test waits this long for anything; it is there so that a hang ends with every goroutine's stack.
TEST_TIMEOUT := 45m

.PHONY: help release build demo check test e2e e2e-deploy e2e-install e2e-installer e2e-netboot e2e-pxe e2e-precommit bench bench-libvirt soak update deps deps-test image vet foreign clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## labctl and its plugins into bin/
	go build -o bin/ ./cmd/...

man: build ## manual pages into bin/man/man1: man -M bin/man labctl-apply
	bin/labctl man bin/man/man1

deps:
	@./build/deps.sh

deps-test:
	@./build/deps.sh test

demo: deps build ## install what is missing, build, make an image, bring up a real lab
	bin/labctl image pull $(IMAGE)
	bin/labctl apply labs/quickstart.cue
	@echo
	@echo "Log in:        bin/labctl ssh labs/quickstart.cue web"
	@echo "What is there: bin/labctl status labs/quickstart.cue"
	@echo "Take it down:  bin/labctl destroy labs/quickstart.cue"

vet: ## gofmt, go vet, and the same for macOS
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	GOOS=darwin GOARCH=arm64 go vet ./...

# Linked and thrown away; vet has compiled most of darwin's already. The rest of what is released is built by `make release`.
foreign: ## every program for macOS and Linux on arm64
	GOOS=darwin GOARCH=arm64 go build -o /dev/null -ldflags '-s -w' ./cmd/...
	GOOS=linux GOARCH=arm64 go build -o /dev/null -ldflags '-s -w' ./cmd/...

check: vet ## everything that needs no virtual machine; under a minute once compiled
	go test -short -timeout 10m ./...

# Whole deployments on emulated machines, and installing by UEFI: what `make test` shows in containers, by BIOS, or in parts.
e2e: e2e-deploy e2e-install e2e-netboot ## the long way on emulated machines, too; docs/benchmarks.md says how long

e2e-deploy: deps-test image
	LABCTL_E2E=1 CI=true go test -count 1 -v -timeout $(TEST_TIMEOUT) -run 'TestE2E/e2e_deploy$$' ./cmd/labctl

e2e-install: deps-test image
	LABCTL_E2E=1 CI=true go test -count 1 -v -timeout $(TEST_TIMEOUT) -run 'TestBoot$$' ./install

image: build
	@mkdir -p $(LABCTL_TEST_IMAGES) && home=$$(mktemp -d) && trap 'rm -r $$home' EXIT && \
	ln -s $(LABCTL_TEST_IMAGES) $$home/images && LABCTL_HOME=$$home bin/labctl image pull $(IMAGE)

test: deps-test vet foreign image ## install what is missing, then everything, with real machines
	@build/test.sh $(TEST_TIMEOUT)

e2e-netboot: deps-test image ## machines installed from the network, by BIOS and by UEFI; minutes each
	LABCTL_E2E=1 go test -count 1 -v -p 1 -timeout 2h -run 'TestBoot$$|TestE2E$$/netboot' ./install ./cmd/labctl

# Not part of e2e-netboot: it needs a mirror that has Debian's installer whole, udebs and all.
e2e-installer: deps-test image ## a machine made by debian-installer, told by preseed; an hour and more, from a mirror that has all of it
	LABCTL_E2E=1 go test -count 1 -v -timeout 4h -run 'TestE2E$$/installer' ./cmd/labctl

e2e-pxe: deps-test image ## a provisioner made from nothing installs machines by BIOS and by UEFI; half an hour and more
	LABCTL_E2E=1 go test -count 1 -v -timeout 3h -run 'TestE2E$$/pxe' ./cmd/labctl

e2e-precommit: deps-test image ## the hooks as the pre-commit framework builds them, from a clone of this repository; minutes, and downloads
	LABCTL_E2E=1 CI=true go test -count 1 -v -timeout 1h -run 'TestE2E$$/e2e_precommit' ./cmd/labctl

bench: deps-test image ## what it costs, ratios side by side in one run
	go test -run '^$$' -bench . -timeout $(TEST_TIMEOUT) ./...

# On one libvirtd of its own. PEER is the program terraform-provider-libvirt, 0.8; without it Terraform is left out.
MACHINES ?= 1 10 50
ROUNDS   ?= 3
PEER     ?=
bench-libvirt: ## labctl on libvirt beside the raw calls and, with PEER=path/to/terraform-provider-libvirt, beside Terraform
	@./build/deps.sh test libvirt
	@LABCTL_BENCH_LIBVIRT="$(MACHINES)" LABCTL_BENCH_ROUNDS=$(ROUNDS) LABCTL_BENCH_PEER="$(abspath $(PEER))" \
	go test -run '^$$' -bench . -benchtime 1x -timeout 3h ./plugins/libvirt/libvirtbench

# The proof against the kernel, for as long as you like: N random labs as network namespaces, or the one of SEED, which
# every failure names.
N    ?= 1000
SEED ?=
soak: ## N random labs (1000) built for real, every verdict against a packet; SEED=n does one again. Needs root
	LABCTL_SOAK=$(N) LABCTL_SEED=$(SEED) CI=true go test -run 'TestReality$$' -count 1 -v -timeout 24h ./check/reach

release: ## programs for all platforms, Debian packages, SBOMs, formula and checksums into dist/; the same commit gives the same bytes
	@build/release.sh dist

e2e-release: ## what is released for this platform, built twice and compared, and its Debian package installed. Needs root
	LABCTL_E2E=1 go test -run 'TestRelease$$' -count 1 -timeout 60m ./cmd/labctl
	build/release.sh dist linux/$$(go env GOARCH) && build/deb-test.sh dist/labctl_*_$$(go env GOARCH).deb

update: ## rewrite the golden files
	go test -short $$(git grep -l 'internal/goldentest"' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's,^,./,') -update

clean: ## remove what was built here, and the tests' images
	rm -rf bin $(LABCTL_TEST_IMAGES)
