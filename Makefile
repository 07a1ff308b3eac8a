# freshet: `make run` starts everything on this machine, `make test` runs all
# tests. Both install what they need and is missing; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := bin
# GOFLAGS of the environment are kept; the version is told to peers and in logs.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/freshet-live/freshet/cmd/internal/boot.Version=$(VERSION)
RUN_ARGS ?=
FUZZTIME ?= 10m

# ensure installs Debian packages whose command, or file, is missing:
#   $(call ensure,COMMAND PACKAGE ...,WHAT FOR)
define ensure
missing=""; set -- $(1); \
while [ $$# -gt 1 ]; do command -v "$$1" >/dev/null || [ -f "$$1" ] || missing="$$missing $$2"; shift 2; done; \
if [ -n "$$missing" ]; then \
  echo "Installing$$missing ($(2))"; \
  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
  command -v apt-get >/dev/null || { echo "Please install$$missing: this machine has no apt-get." >&2; exit 1; }; \
  $$sudo apt-get update -qq; \
  DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: run
run: build ## Build what is missing and start everything: origin, relay, API and web app
	@exec $(BIN)/freshet up $(RUN_ARGS)

.PHONY: build
build: web/dist/index.html ## Build the binaries into bin/, the web app inside
	@echo "Building the binaries"
	@mkdir -p $(BIN)
	@go build -ldflags '$(LDFLAGS)' -o $(BIN)/freshet ./cmd/freshet
	@go build -ldflags '$(LDFLAGS)' -o $(BIN)/freshet-origin ./cmd/origin
	@go build -ldflags '$(LDFLAGS)' -o $(BIN)/freshet-relay ./cmd/relay
	@go build -ldflags '$(LDFLAGS)' -o $(BIN)/freshet-api ./cmd/api

WEB_SOURCES := $(shell find web/src web/public web/index.html -type f 2>/dev/null) web/package-lock.json web/vite.config.ts web/tsconfig.json

web/node_modules/.ready: web/package-lock.json
	@$(call ensure,node nodejs npm npm,to build the web app)
	@echo "Installing the web app's packages"
	@cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.ready $(WEB_SOURCES)
	@echo "Building the web app"
	@cd web && npm run --silent build
	@touch $@

test/e2e/node_modules/.ready: test/e2e/package-lock.json
	@echo "Installing the end-to-end tests' packages"
	@cd test/e2e && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: test-deps
test-deps:
	@$(call ensure,node nodejs npm npm ffmpeg ffmpeg chromium chromium /usr/sbin/nginx nginx,for the tests)

.PHONY: test
test: test-deps build check test-go test-web test-e2e ## Run all tests, with real encoders and browsers

.PHONY: test-go
test-go: test-deps web/dist/index.html
	@echo "Go tests, with the race detector"
	@go test -race -shuffle=on -timeout 20m ./...

.PHONY: test-web
test-web: web/node_modules/.ready
	@echo "Tests of the web app"
	@cd web && npm test --silent

# What WebKitGTK decodes H.264 and AAC with.
GST_PLUGINS := /usr/lib/$(shell uname -m)-linux-gnu/gstreamer-1.0

.PHONY: test-players-deps
test-players-deps:
	@command -v apt-get >/dev/null || { echo "Without apt-get: players that are not installed are left out"; exit 0; }; \
	$(call ensure,firefox-esr firefox-esr WebKitWebDriver webkit2gtk-driver Xvfb xvfb mpv mpv $(GST_PLUGINS)/libgstlibav.so gstreamer1.0-libav $(GST_PLUGINS)/libgstvideoparsersbad.so gstreamer1.0-plugins-bad,for the tests with foreign players)

.PHONY: test-e2e
test-e2e: test-deps test-players-deps build test/e2e/node_modules/.ready
	@echo "End-to-end tests"
	@cd test/e2e && npm test --silent

.PHONY: check
check: web/node_modules/.ready web/dist/index.html ## Formatting, vet, staticcheck and types
	@echo "Checks"
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; [ -z "$$unformatted" ] || { echo "gofmt is due: $$unformatted" >&2; exit 1; }
	@go vet ./...
	@go tool staticcheck ./...
	@cd web && npm run --silent check

.PHONY: bench
bench: build ## Measure the relay on this machine; ends with one JSON line
	@go run ./test/bench

.PHONY: soak
soak: test-deps web/dist/index.html ## Watch LL-HLS for FRESHET_SOAK (10m) with hlscheck
	@FRESHET_SOAK=$${FRESHET_SOAK:-10m} go test -count=1 -timeout 60m -run TestConformance -v ./test/hls

.PHONY: bench-hls
bench-hls: ## Measure what a playlist request costs, beside gohlslib
	@cd test/bench/hls && go run .

.PHONY: bench-hls-load
bench-hls-load: test-deps ## Measure 1,000 LL-HLS viewers over HTTP/2, and 500 behind nginx
	@go test -count=1 -timeout 20m -run 'TestNginx$$' -v -bench Crowd -benchtime 1x ./test/hlsload $(if $(VIEWERS),-viewers $(VIEWERS))

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10m)
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

.PHONY: clean
clean: ## Remove what was built
	@rm -rf $(BIN) web/dist/assets web/dist/index.html web/node_modules test/e2e/node_modules
