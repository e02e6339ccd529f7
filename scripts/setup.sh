#!/usr/bin/env bash
# Installs what building and running Millpond needs and nothing that is there already; quick when nothing is missing.
# Usage: setup.sh [test]     `test` adds PostgreSQL, beside which the tests run.
#
#   C++ compiler, make   RocksDB and zstd are C++ and C
#   libclang             RocksDB's bindings are generated at build time
#   psql                 the demo and the tests speak through it
#   cargo                the toolchain of rust-toolchain.toml
set -euo pipefail

mode="${1:-}"
missing=()

have() { command -v "$1" >/dev/null 2>&1; }

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    ldconfig -p 2>/dev/null | grep -q 'libclang[-0-9.]*\.so' && ls /usr/lib/clang/*/include/stddef.h \
        /usr/lib/llvm-*/lib/clang/*/include/stddef.h >/dev/null 2>&1
}

have_postgres() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || have initdb; }

have c++ || missing+=(build-essential)
have_libclang || missing+=(libclang-dev)
have psql || missing+=(postgresql-client)
have curl || have cargo || missing+=(curl ca-certificates)
if [ "$mode" = test ]; then have_postgres || missing+=(postgresql); fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else
        echo "setup: not root and no sudo; run as root: $*" >&2
        return 1
    fi
}

if [ ${#missing[@]} -gt 0 ]; then
    if ! have apt-get; then
        echo "setup: please install (names as in Debian): ${missing[*]}" >&2
        exit 1
    fi
    echo "==> apt-get install ${missing[*]}"
    as_root apt-get update -qq
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        # The tests start servers of their own: do not let the package start one on port 5432.
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common
        as_root sed -i -E 's/^#? *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if ! have cargo && ! [ -x "$HOME/.cargo/bin/cargo" ]; then
    echo "==> installing Rust with rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none
fi
