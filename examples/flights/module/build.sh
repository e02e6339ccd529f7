#!/bin/sh
# Rebuilds flights.wasm: with rustup's wasm target where it is installed (rustup target add wasm32-unknown-unknown), else
# with Debian's packages (apt-get install --no-install-recommends rustc-web rust-web-src lld-19), which need no rustup.
set -eu
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}"
if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
    cargo build --release --target $target
else
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
        cargo build --release --target $target -Z build-std=std,panic_abort
fi
cp "$CARGO_TARGET_DIR/$target/release/flights.wasm" flights.wasm
ls -l flights.wasm
