-- Streams: append-only, with system columns that show when named.

CREATE STREAM clicks (url text NOT NULL, user_id int) WITH (partitions = 1);
----
CREATE STREAM

INSERT INTO clicks VALUES ('/a', 1), ('/b', NULL), ('/a', 3);
SELECT * FROM clicks ORDER BY url, user_id;
----
INSERT 0 3
/a|1
/a|3
/b|NULL

SELECT _partition, _offset, url, _append_ts IS NOT NULL FROM clicks ORDER BY _offset;
----
0|0|/a|t
0|1|/b|t
0|2|/a|t

INSERT INTO clicks (user_id, url) VALUES (4, '/c');
SELECT _offset, url FROM clicks WHERE _offset >= 2 ORDER BY _offset;
----
INSERT 0 1
2|/a
3|/c

SELECT min(_append_ts) <= max(_append_ts) FROM clicks;
----
t

-- A stream is never changed in place.
UPDATE clicks SET url = '/x';
DELETE FROM clicks;
----
ERROR:  42809
ERROR:  42809

INSERT INTO clicks VALUES (NULL, 1);
INSERT INTO clicks (url, _offset) VALUES ('/a', 7);
SELECT count(*) FROM clicks;
----
ERROR:  23502
ERROR:  42703
4

-- Equal keys share a partition, in which their order is kept.
CREATE STREAM keyed (k int, n int) WITH (partitions = 4, key = 'k');
INSERT INTO keyed VALUES (1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2);
SELECT count(*) FROM (SELECT k FROM keyed GROUP BY k HAVING count(DISTINCT _partition) > 1) AS split;
SELECT count(*) FROM keyed a JOIN keyed b ON a.k = b.k AND a.n < b.n AND a._offset >= b._offset;
----
CREATE STREAM
INSERT 0 6
0
0

-- Windows of event time.
CREATE STREAM readings (ts timestamptz, value double precision);
INSERT INTO readings VALUES ('2013-01-01 00:00:59+00', 1), ('2013-01-01 00:01:00+00', 2), ('2013-01-01 00:01:30+00', 4);
CREATE MATERIALIZED VIEW per_minute AS
    SELECT window_start, window_end, count(*) AS n, sum(value) AS total
    FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, window_end;
SELECT * FROM per_minute ORDER BY window_start;
----
CREATE STREAM
INSERT 0 3
CREATE MATERIALIZED VIEW
2013-01-01 00:00:00+00|2013-01-01 00:01:00+00|1|1
2013-01-01 00:01:00+00|2013-01-01 00:02:00+00|2|6

INSERT INTO readings VALUES ('2013-01-01 00:00:00+00', 8);
SELECT * FROM per_minute ORDER BY window_start;
SELECT window_start, value FROM TUMBLE(readings, ts, INTERVAL '1 hour') ORDER BY value;
----
INSERT 0 1
2013-01-01 00:00:00+00|2013-01-01 00:01:00+00|2|9
2013-01-01 00:01:00+00|2013-01-01 00:02:00+00|2|6
2013-01-01 00:00:00+00|1
2013-01-01 00:00:00+00|2
2013-01-01 00:00:00+00|4
2013-01-01 00:00:00+00|8

