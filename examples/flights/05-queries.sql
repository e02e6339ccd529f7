-- Reading a view costs a scan of its current rows; it is never recomputed. A SELECT sees every write that was
-- acknowledged before it began, and a query over several views and streams sees all of them at one moment.

-- Where was the waiting worst?
SELECT airline, hour, departed, avg_delay, max_delay
FROM carrier_delay
WHERE departed >= 10
ORDER BY avg_delay DESC, airline, hour
LIMIT 5;

-- Cancelled flights per airport over the fortnight.
SELECT origin, sum(flights) AS cancelled
FROM cancelled
GROUP BY origin
ORDER BY origin;

-- Late routes, longest first.
SELECT origin, dest, destination, flights, avg_delay, floor(km)::int AS km
FROM worst_routes
WHERE flights >= 10
ORDER BY km DESC, origin, dest
LIMIT 5;

SELECT miles, flights, avg_delay FROM visibility_delay ORDER BY miles LIMIT 5;

-- A module's functions work in any query, over streams too.
SELECT flight.delay_class(dep_delay) AS class, count(*) AS flights
FROM flights
GROUP BY class
ORDER BY flights DESC, class;

-- Tables change, and the views follow: the name in carrier_delay is the new one from this commit on.
UPDATE airlines SET name = 'United' WHERE carrier = 'UA';
SELECT airline, sum(scheduled) AS scheduled FROM carrier_delay WHERE airline LIKE 'United%' GROUP BY airline;
UPDATE airlines SET name = 'United Air Lines Inc.' WHERE carrier = 'UA';

-- A stream's place in the log, when named: partition, offset, time of append. `*` does not show them.
SELECT _partition, _offset, carrier, flight FROM flights ORDER BY _partition, _offset LIMIT 3;

-- A live feed: first the rows that are there, then every change, with the epoch it belongs to and its weight
-- (-1 takes a row back, +1 adds one). It runs until you cancel it (Ctrl-C), so try it in a second psql:
--   COPY (SUBSCRIBE worst_routes) TO STDOUT;
