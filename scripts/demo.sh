#!/usr/bin/env bash
# Shows Millpond at work: starts a server, creates the flights example, feeds flights in small batches while psql
# shows a view moving, and leaves the server up until Ctrl-C. Runs again over the data directory it left.
# Called by `make demo`, which builds first. Environment:
#   MILLPOND            the binary                       (target/release/millpond)
#   MILLPOND_DATA_DIR   where the data lives             (./millpond-data)
#   MILLPOND_PORT       on 127.0.0.1                     (7432)
#   MILLPOND_DEMO_S     for how long flights stream in   (30)
#   MILLPOND_DEMO_EXIT  set: stop when the show is over instead of waiting for Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."

millpond="$(realpath "${MILLPOND:-target/release/millpond}")"
data_dir="$(realpath -m "${MILLPOND_DATA_DIR:-millpond-data}")"
port="${MILLPOND_PORT:-7432}"
duration_s="${MILLPOND_DEMO_S:-30}"
flights="$PWD/examples/flights/data/flights-2013-01-01_14.csv"
server_log="$(mktemp -t millpond-demo.XXXXXX)"
server=

run() { PGOPTIONS='-c client_min_messages=warning' psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U millpond "$@" millpond; }
port_is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

stop() {
    trap - EXIT INT TERM
    if [ -n "$server" ]; then
        printf '\n==> stopping the server\n'
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        echo "    stopped; the data stays in $data_dir (make clean-data deletes it)"
    fi
    rm -f "$server_log"
}

start_server() {
    if port_is_open; then
        echo "demo: port $port on 127.0.0.1 is taken. Stop what listens there, or: MILLPOND_PORT=7433 make demo" >&2
        exit 1
    fi
    echo "==> starting the server on 127.0.0.1:$port, data in $data_dir"
    # A session of its own: Ctrl-C must reach this script first, which then stops the server cleanly.
    setsid "$millpond" serve --data-dir "$data_dir" --pg-listen "127.0.0.1:$port" >"$server_log" 2>&1 &
    server=$!
    trap stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    until pg_isready -q -h 127.0.0.1 -p "$port"; do
        if ! kill -0 "$server" 2>/dev/null; then
            echo "demo: the server did not start:" >&2
            cat "$server_log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# The data directory may hold the example, or any part of it, from an earlier run: the files create what is not there,
# and a table is loaded if it is empty (a COPY is all or nothing). Flights are streamed in later.
create_example() {
    cd examples/flights
    step 01-streams.sql
    load airlines airlines
    load airports airports
    load planes planes
    load weather weather-2013-01-01_14
    step 03-module.sql
    step 04-views.sql
    cd ../..
}

step() {
    echo "==> examples/flights/$1"
    run -f "$1"
}
load() {
    if [ "$(run -At -c "SELECT count(*) FROM $1")" = 0 ]; then
        echo "==> examples/flights/data/$2.csv"
        run -c "COPY $1 FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA')" <"data/$2.csv"
    fi
}

# Sends the rows that are not there yet, in as many batches as there are seconds; all there: from the start again.
stream_flights() {
    local total sent first batch last began
    total=$(($(wc -l <"$flights") - 1))
    sent=$(run -At -c 'SELECT count(*) FROM flights')
    first=$((sent % total + 1))
    batch=$(((total - first + duration_s) / duration_s))
    echo "==> streaming $((total - first + 1)) flights, $batch at a time ($sent are there already)"
    began=$SECONDS
    while [ "$first" -le "$total" ]; do
        last=$((first + batch - 1 < total ? first + batch - 1 : total))
        { head -n 1 "$flights"; sed -n "$((first + 1)),$((last + 1))p" "$flights"; } |
            run -c "COPY flights FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA')"
        first=$((last + 1))
        show "$((first - 1))" "$total"
        sleep 0.8
    done
    echo "==> streamed for $((SECONDS - began)) s"
}

show() {
    [ -t 1 ] && printf '\033[H\033[2J'
    printf '%s of %s flights sent. SELECT … FROM worst_routes ORDER BY avg_delay DESC LIMIT 8:\n' "$1" "$2"
    run -P footer=off -c "SELECT origin, destination, flights, round(avg_delay) AS avg_delay_minutes, round(km) AS km
        FROM worst_routes WHERE flights >= 5 ORDER BY avg_delay DESC, origin, destination LIMIT 8"
}

start_server
create_example
stream_flights
cat <<EOF

The server stays up. In another terminal:
    psql -h 127.0.0.1 -p $port -U millpond millpond
and then, for example:
    \\dm
    SELECT * FROM carrier_delay ORDER BY hour DESC, airline LIMIT 10;
    COPY (SUBSCRIBE worst_routes) TO STDOUT;     -- a live feed; UPDATE airports from a third terminal
More to try: examples/flights/05-queries.sql. Ctrl-C here stops the server.
EOF
if [ -z "${MILLPOND_DEMO_EXIT:-}" ]; then wait "$server"; fi
