#!/usr/bin/env bash
# Builds librocksdb.a from the sources of the `librocksdb-sys` crate in four translation units and prints its directory.
# Usage: rocksdb.sh TARGET_DIR
#
# The crate's own build compiles 342 files one by one, and nearly all of that time goes into the same C++ headers: 28
# minutes of processor time against 5 for the four units (RocksDB supports such a "unity" build and tests it). The
# crate links what ROCKSDB_LIB_DIR names. The flags below are those of its build.rs; on a platform this script does not
# know it prints nothing and the crate builds RocksDB its own way.
set -euo pipefail
cd "$(dirname "$0")/.."

target_dir="$1"
case "$(uname -sm)" in "Linux x86_64" | "Linux aarch64") ;; *) exit 0 ;; esac

metadata="$(cargo metadata --locked --format-version 1)"
source_of() { grep -o "\"manifest_path\":\"[^\"]*/$1-[0-9][^\"]*/Cargo.toml\"" <<<"$metadata" | head -1 | cut -d'"' -f4 | xargs dirname; }
rocksdb="$(source_of librocksdb-sys)"
zstd="$(source_of zstd-sys)/zstd/lib"

mkdir -p "$target_dir"
out="$(cd "$target_dir" && pwd)/$(basename "$rocksdb")"
if [ -f "$out/librocksdb.a" ]; then
    echo "$out"
    exit 0
fi

work="$out.building"
rm -rf "$work"
mkdir -p "$work"
cd "$rocksdb"
{
    grep -vx 'util/build_version.cc' rocksdb_lib_sources.txt | sed 's|.*|#include "&"|'
    echo '#include "build_version.cc"'
} >"$work/all.cc"
split --number=l/4 --additional-suffix=.cc "$work/all.cc" "$work/unit_"

flags=(-O1 -fPIC -ffunction-sections -fdata-sections -std=c++20 -w -include cstdint
    -I rocksdb/include -I rocksdb -I . -I "$zstd"
    -DNDEBUG -DZSTD -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION
    -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
    -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT)
echo "==> RocksDB: 4 units" >&2
for unit in "$work"/unit_*.cc; do printf '%s\0' "$unit"; done |
    xargs -0 -P "$(nproc)" -I{} sh -c '
        file="$1"; shift
        "${CXX:-c++}" "$@" -c "$file" -o "${file%.cc}.o" && echo "    $(basename "$file" .cc) done" >&2' \
        compile {} "${flags[@]}"
ar crs "$work/librocksdb.a" "$work"/unit_*.o
rm -f "$work"/unit_* "$work/all.cc"
rm -rf "$out"
mv "$work" "$out"
echo "$out"
