#!/usr/bin/env bash
# A year of flights through \copy while the example's views are maintained, beside the same \copy into PostgreSQL.
#   benches/flights_year.sh FLIGHTS.csv [RUNS]
# FLIGHTS.csv: 336,776 rows as in examples/flights/data (header, NA is NULL). RUNS: 5. Both servers run with their
# durable defaults; the runs alternate. Prints one line per run, then medians with minimum and maximum.
# Environment: MILLPOND (target/release/millpond). Needs PostgreSQL's server programs (scripts/setup.sh test).
set -euo pipefail
csv="$(realpath "$1")"
runs="${2:-5}"
cd "$(dirname "$0")/.."
millpond="$(realpath "${MILLPOND:-target/release/millpond}")"
work="$(mktemp -d)"
chmod 755 "$work"
server=
pg_bin="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)"
as_postgres() { if [ "$(id -u)" = 0 ]; then (cd / && su postgres -s /bin/sh -c "$*"); else sh -c "$*"; fi; }
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
    as_postgres "$pg_bin/pg_ctl -D $work/pg -m fast stop" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
now_ms() { date +%s%3N; }
mp() { psql -X -q -At -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U millpond "$@" millpond; }
pg() { psql -X -q -At -v ON_ERROR_STOP=1 -h "$work" -p 5999 -U postgres "$@" postgres; }
start_millpond() {
    rm -f "$work/banner"; touch "$work/banner"
    "$millpond" serve --data-dir "$work/data" --pg-listen 127.0.0.1:0 >"$work/banner" 2>"$work/log" &
    server=$!
    until port="$(grep -o -- '-p [0-9]*' "$work/banner" | cut -c4-)" && [ -n "$port" ]; do sleep 0.01; done
}
stop_millpond() { kill -TERM "$server"; wait "$server" || true; server=; }

mkdir "$work/pg"
chmod 777 "$work" "$work/pg"
if [ "$(id -u)" = 0 ]; then chown postgres "$work/pg"; fi
as_postgres "$pg_bin/initdb -A trust -U postgres -D $work/pg" >/dev/null
as_postgres "$pg_bin/pg_ctl -w -D $work/pg -o '-p 5999 -k $work -c listen_addresses=' -l $work/pg/log start" >/dev/null
sed -n '/^CREATE STREAM .*flights /,/^);/p' examples/flights/01-streams.sql | sed 's/CREATE STREAM/CREATE TABLE/' | pg -f -

rows=$(($(wc -l <"$csv") - 1))
copy="\\copy flights FROM '$csv' WITH (FORMAT csv, HEADER, NULL 'NA')"
echo "run millpond_rows_s millpond_bare_rows_s postgres_rows_s lag_ms rss_mib restart_ms replay_ms disk_mib"
for run in $(seq "$runs"); do
    rm -rf "$work/data"
    start_millpond
    (cd examples/flights && mp -f 01-streams.sql && mp -v live=1 -f 02-load.sql && mp -f 03-module.sql) >/dev/null
    (cd examples/flights && mp -f 04-views.sql) >/dev/null
    t0=$(now_ms); mp -c "$copy"; t1=$(now_ms)
    mp -c 'SELECT count(*) FROM worst_routes' >/dev/null; t2=$(now_ms)
    rss=$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$server/status")
    # kill -9: the restart replays what came after the last checkpoint.
    kill -9 "$server"; wait "$server" 2>/dev/null || true; server=
    t3=$(now_ms); start_millpond; mp -c 'SELECT count(*) FROM cancelled' >/dev/null; t4=$(now_ms)
    stop_millpond
    disk=$(du -sm "$work/data" | cut -f1)
    t5=$(now_ms); start_millpond; mp -c 'SELECT count(*) FROM cancelled' >/dev/null; t6=$(now_ms)
    mp -c 'DROP MATERIALIZED VIEW worst_routes, route_delay, carrier_delay, cancelled, visibility_delay' >/dev/null
    b0=$(now_ms); mp -c "$copy"; b1=$(now_ms)
    stop_millpond
    pg -c 'TRUNCATE flights'
    p0=$(now_ms); pg -c "$copy"; p1=$(now_ms)
    echo "$run $((rows * 1000 / (t1 - t0))) $((rows * 1000 / (b1 - b0))) $((rows * 1000 / (p1 - p0)))" \
        "$((t2 - t1)) $rss $((t6 - t5)) $((t4 - t3)) $disk"
done | tee "$work/runs"
echo "CSV: $(($(stat -c %s "$csv") >> 20)) MiB, $rows rows"
python3 - "$work/runs" <<'PY'
import statistics, sys
rows = [list(map(int, line.split())) for line in open(sys.argv[1])]
names = "millpond_rows_s millpond_bare_rows_s postgres_rows_s lag_ms rss_mib restart_ms replay_ms disk_mib".split()
for name, values in zip(names, list(zip(*rows))[1:]):
    print(f"{name:22} median {statistics.median(values):>9.0f}   min {min(values):>9}   max {max(values):>9}")
print(f"millpond with 5 views / postgres: median ratio {statistics.median(r[1] / r[3] for r in rows):.2f}")
print(f"millpond without views / postgres: median ratio {statistics.median(r[2] / r[3] for r in rows):.2f}")
PY
