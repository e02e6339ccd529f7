-- same in PostgreSQL
-- A row that cannot be computed is an error of the views that need it, for as long as it is there.

CREATE TABLE parts (id int PRIMARY KEY, made int, broken int, label text);
INSERT INTO parts VALUES (1, 10, 2, '7'), (2, 9, 3, '8');
CREATE MATERIALIZED VIEW ratio AS SELECT id, made / broken AS r FROM parts;
CREATE MATERIALIZED VIEW over_ratio AS SELECT count(*) AS n, max(r) AS r FROM ratio;
CREATE MATERIALIZED VIEW share AS SELECT count(*) FILTER (WHERE broken > 2) * 100 / count(*) AS percent FROM parts;
CREATE MATERIALIZED VIEW per_part AS SELECT broken, sum(made) / sum(broken) AS r FROM parts GROUP BY broken;
CREATE MATERIALIZED VIEW numbers AS SELECT sum(label::int) AS total FROM parts;
CREATE MATERIALIZED VIEW guarded AS SELECT id, CASE WHEN broken <> 0 THEN made / broken END AS r FROM parts;
SELECT * FROM ratio ORDER BY id;
SELECT n, r FROM over_ratio;
SELECT percent FROM share;
----
CREATE TABLE
INSERT 0 2
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
1|5
2|3
2|5
50

INSERT INTO parts VALUES (3, 5, 0, 'many');
SELECT * FROM ratio ORDER BY id;
SELECT n, r FROM over_ratio;
SELECT percent FROM share;
SELECT * FROM per_part ORDER BY broken;
SELECT total FROM numbers;
SELECT * FROM guarded ORDER BY id;
SELECT count(*) FROM parts;
----
INSERT 0 1
ERROR:  22012: division by zero
ERROR:  22012: division by zero
33
ERROR:  22012: division by zero
ERROR:  22P02: invalid input syntax for type integer: "many"
1|5
2|3
3|NULL
3

UPDATE parts SET broken = 5 WHERE id = 3;
SELECT * FROM ratio ORDER BY id;
SELECT n, r FROM over_ratio;
SELECT total FROM numbers;
----
UPDATE 1
1|5
2|3
3|1
3|5
ERROR:  22P02: invalid input syntax for type integer: "many"

DELETE FROM parts WHERE id = 3;
SELECT n, r FROM over_ratio;
SELECT total FROM numbers;
DELETE FROM parts;
SELECT * FROM ratio;
SELECT percent FROM share;
SELECT total FROM numbers;
INSERT INTO parts VALUES (4, 8, 2, '1');
SELECT percent FROM share;
SELECT n, r FROM over_ratio;
----
DELETE 1
2|5
15
DELETE 2
ERROR:  22012: division by zero
NULL
INSERT 0 1
0
1|4

BEGIN;
UPDATE parts SET broken = 0 WHERE id = 4;
UPDATE parts SET broken = 4 WHERE id = 4;
COMMIT;
SELECT * FROM ratio;
----
BEGIN
UPDATE 1
UPDATE 1
COMMIT
4|2

