-- What tests/flights.rs asks of Millpond and postgres.sh of PostgreSQL; the answers are in queries.txt.
\echo carrier_delay
SELECT airline, hour, scheduled, departed, avg_delay, max_delay FROM carrier_delay ORDER BY airline, hour;
\echo cancelled
SELECT origin, year, month, day, flights FROM cancelled ORDER BY origin, year, month, day;
\echo route_delay
SELECT origin, dest, flights, avg_delay FROM route_delay ORDER BY origin, dest;
\echo worst_routes
SELECT origin, dest, destination, flights, avg_delay, floor(km) FROM worst_routes ORDER BY origin, dest;
\echo visibility_delay
SELECT miles, flights, avg_delay FROM visibility_delay ORDER BY miles;
\echo tables
SELECT count(*), count(tz), sum(alt) FROM airports;
SELECT count(*), count(year), count(speed), sum(seats) FROM planes;
SELECT count(*), count(dep_time), count(tailnum), sum(distance), min(time_hour), max(time_hour) FROM flights;
SELECT count(*), count(wind_gust), count(wind_dir), min(time_hour), max(time_hour) FROM weather;
