-- Materialized views: computed once over what is there, then kept current with every commit.

-- Departures and their delay, per airline and hour. TUMBLE adds window_start and window_end to the stream's
-- columns. A cancelled flight has no delay, so avg and max do not see it.
CREATE MATERIALIZED VIEW IF NOT EXISTS carrier_delay AS
SELECT a.name             AS airline,
       f.window_start     AS hour,
       count(*)           AS scheduled,
       count(f.dep_time)  AS departed,
       avg(f.dep_delay)   AS avg_delay,
       max(f.dep_delay)   AS max_delay
FROM TUMBLE(flights, time_hour, INTERVAL '1 hour') AS f
JOIN airlines AS a ON a.carrier = f.carrier
GROUP BY a.name, f.window_start;

-- Flights that never left, by origin and day.
CREATE MATERIALIZED VIEW IF NOT EXISTS cancelled AS
SELECT origin, year, month, day, count(*) AS flights
FROM flights
WHERE dep_time IS NULL
GROUP BY origin, year, month, day;

-- Arrival delay per route …
CREATE MATERIALIZED VIEW IF NOT EXISTS route_delay AS
SELECT origin, dest, count(*) AS flights, avg(arr_delay) AS avg_delay
FROM flights
WHERE arr_delay IS NOT NULL
GROUP BY origin, dest;

-- … and, as a view on that view, the routes that are late on average, with their length computed by the
-- WebAssembly function from the airports' coordinates. A route whose average falls to 15 minutes leaves the view.
CREATE MATERIALIZED VIEW IF NOT EXISTS worst_routes AS
SELECT r.origin, r.dest, d.name AS destination, r.flights, r.avg_delay,
       flight.great_circle_km(o.lat, o.lon, d.lat, d.lon) AS km
FROM route_delay AS r
JOIN airports AS o ON o.faa = r.origin
JOIN airports AS d ON d.faa = r.dest
WHERE r.avg_delay > 15;

-- Does low visibility delay departures? Two streams joined on airport and hour.
CREATE MATERIALIZED VIEW IF NOT EXISTS visibility_delay AS
SELECT w.visib AS miles, count(*) AS flights, avg(f.dep_delay) AS avg_delay
FROM flights AS f
JOIN weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour
GROUP BY w.visib;
