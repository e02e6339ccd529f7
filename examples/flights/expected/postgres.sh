#!/usr/bin/env bash
# Makes queries.txt: the example run on PostgreSQL 15 instead of Millpond.
# Usage: postgres.sh PSQL-ARGUMENTS…   e.g. postgres.sh -h 127.0.0.1 -p 5432 -U postgres scratch
# The database must be empty. A stream becomes a table, a materialized view a plain view, TUMBLE a sub-select, and
# the module's function an SQL function with the same formula.
set -euo pipefail
cd "$(dirname "$0")/.."
export PGTZ=UTC
run() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }

to_postgres() {
    sed -E -e 's/CREATE STREAM/CREATE TABLE/' -e "s/CREATE MATERIALIZED VIEW( IF NOT EXISTS)?/CREATE VIEW/" \
        -e "s/TUMBLE\((\w+), (\w+), INTERVAL '1 hour'\)/(SELECT *, date_trunc('hour', \2) AS window_start FROM \1)/" "$1"
}

to_postgres 01-streams.sql | run "$@"
run "$@" -f 02-load.sql
run "$@" <<'SQL'
CREATE SCHEMA flight;
CREATE FUNCTION flight.great_circle_km(lat1 float8, lon1 float8, lat2 float8, lon2 float8) RETURNS float8
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT 2 * 6371.0088 * asin(sqrt(least(1.0,
        sin(radians(lat2 - lat1) / 2) ^ 2 + cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lon2 - lon1) / 2) ^ 2)))
$$;
SQL
to_postgres 04-views.sql | run "$@"
run "$@" -A -t -f expected/queries.sql > expected/queries.txt
