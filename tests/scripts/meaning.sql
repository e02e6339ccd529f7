-- same in PostgreSQL
-- Views compute what queries do: what PostgreSQL means by AND, by parts of times and by floats.

CREATE TABLE m (id int PRIMARY KEY, x int, f double precision, t timestamp, u timestamp);
CREATE MATERIALIZED VIEW guarded AS SELECT id FROM m WHERE x <> 0 AND 10 / x > 3;
CREATE MATERIALIZED VIEW told AS SELECT id, x = 0 OR 10 / x > 3 AS large FROM m;
CREATE MATERIALIZED VIEW late AS SELECT id FROM m WHERE u - t > interval '1 day';
CREATE MATERIALIZED VIEW hours AS SELECT extract(hour FROM t) AS hour, count(*) AS n FROM m GROUP BY extract(hour FROM t);
CREATE MATERIALIZED VIEW not_negative AS SELECT id FROM m WHERE f >= 0;
CREATE MATERIALIZED VIEW groups AS SELECT f, count(*) AS n FROM m GROUP BY f;
CREATE MATERIALIZED VIEW extremes AS SELECT x, min(f) AS lo, max(f) AS hi FROM m GROUP BY x;
----
CREATE TABLE
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW

INSERT INTO m VALUES
    (1, 0, 0, timestamp '2024-01-01 10:30', timestamp '2024-01-02 22:30'),
    (2, 2, '-0', timestamp '2024-01-01 10:40', timestamp '2024-01-01 22:30'),
    (3, 4, 'NaN', timestamp '2024-01-01 11:00', timestamp '2024-01-04 11:00'),
    (4, 0, -1, timestamp '2024-01-01 12:00', NULL),
    (5, 4, 7, timestamp '9024-01-01 12:00', timestamp '9024-01-02 12:00:01');
SELECT * FROM guarded ORDER BY id;
SELECT * FROM told ORDER BY id;
SELECT * FROM late ORDER BY id;
SELECT * FROM hours ORDER BY hour;
SELECT * FROM not_negative ORDER BY id;
SELECT n FROM groups ORDER BY n DESC, f;
SELECT * FROM extremes ORDER BY x;
----
INSERT 0 5
2
1|t
2|t
3|f
4|t
5|f
1
3
5
10|2
11|1
12|2
1
2
3
5
2
1
1
1
0|-1|0
2|-0|-0
4|7|NaN
