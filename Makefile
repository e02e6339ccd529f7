# `make demo` and `make test` work on a fresh machine and compile with the same profile, features and target
# directory, so the dependencies are built once. CARGO_TARGET_DIR is respected.

CARGO_FLAGS := --release --locked --workspace
# With a test target in the selection cargo resolves the same features as `cargo test` does (tokio-postgres turns one
# on in futures-channel, below DataFusion); `tidy` is the cheapest. docs/decisions/0001 has the story.
SAME_AS_TEST := --bins --test tidy
TARGET_DIR  := $(or $(CARGO_TARGET_DIR),target)
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help build demo serve test lint clean-data setup setup-test

help:
	@echo "make demo        build, start a server on 127.0.0.1:7432, stream flights in, stay up until Ctrl-C"
	@echo "make serve       build and start a server on ./millpond-data"
	@echo "make test        build and run all tests"
	@echo "make lint        rustfmt and clippy"
	@echo "make clean-data  delete ./millpond-data"

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test

build: setup
	@echo "==> cargo build (the first time compiles every dependency: minutes, see README)"
	scripts/cargo.sh build $(CARGO_FLAGS) $(SAME_AS_TEST)

demo: build
	@MILLPOND=$(TARGET_DIR)/release/millpond scripts/demo.sh

serve: build
	exec $(TARGET_DIR)/release/millpond serve

test: setup-test
	@echo "==> cargo test (the first time compiles every dependency: minutes, see README)"
	scripts/cargo.sh test $(CARGO_FLAGS)

lint: setup
	cargo fmt --all --check
	scripts/cargo.sh clippy $(CARGO_FLAGS) --all-targets -- -D warnings

clean-data:
	rm -rf millpond-data
