#!/usr/bin/env bash
# cargo with the environment this repository builds in: RocksDB built by rocksdb.sh, not by its crate. The arguments are
# cargo's own. Plain `cargo` works too, but then builds RocksDB anew, slowly.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
lib="$("$root/scripts/rocksdb.sh" "${CARGO_TARGET_DIR:-$root/target}")"
if [ -n "$lib" ]; then
    export ROCKSDB_LIB_DIR="$lib" ROCKSDB_STATIC=1
fi
exec cargo "$@"
