-- same in PostgreSQL
-- Statements in all their spellings: WITH before a change, FETCH, TABLE, DEFAULT, lists with subqueries, keys in GROUP BY.

CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text DEFAULT ' x ', c numeric(5,2) DEFAULT 1.235, d date DEFAULT '2024-02-29', ok boolean DEFAULT 'yes');
INSERT INTO t (id) VALUES (1);
INSERT INTO t VALUES (2, 20), (3, DEFAULT);
SELECT * FROM t ORDER BY id;
----
CREATE TABLE
INSERT 0 1
INSERT 0 2
1|7| x |1.24|2024-02-29|t
2|20| x |1.24|2024-02-29|t
3|7| x |1.24|2024-02-29|t

INSERT INTO t SELECT id + 10, a FROM t WHERE id = 2;
INSERT INTO t SELECT 20 UNION ALL SELECT 21;
INSERT INTO t VALUES ((SELECT max(id) + 1 FROM t), 5), (30, (SELECT count(*) FROM t));
INSERT INTO t (id, d) VALUES ((SELECT 40), '2024-03-01');
UPDATE t SET a = DEFAULT, b = DEFAULT WHERE id = 2;
SELECT id, a, b, d FROM t WHERE id = 2 OR id > 10 ORDER BY id;
SELECT * FROM (VALUES ((SELECT max(id) FROM t), 1), (2, 3)) AS v ORDER BY 1;
INSERT INTO t VALUES (50, 1) ON CONFLICT (id) DO UPDATE SET a = DEFAULT;
----
INSERT 0 1
INSERT 0 2
INSERT 0 2
INSERT 0 1
UPDATE 1
2|7| x |2024-02-29
12|20| x |2024-02-29
20|7| x |2024-02-29
21|7| x |2024-02-29
22|5| x |2024-02-29
30|6| x |2024-02-29
40|7| x |2024-03-01
2|3
40|1
INSERT 0 1

WITH n AS (SELECT 60 AS id) INSERT INTO t SELECT id, 1 FROM n;
WITH n AS (SELECT 61 AS id) INSERT INTO t WITH m AS (SELECT id + 1 AS id FROM n) SELECT id, 2 FROM m;
WITH n AS (SELECT 60 AS x) UPDATE t SET a = (SELECT x FROM n) + 1 WHERE id IN (SELECT x FROM n) RETURNING id, a;
WITH n AS (SELECT 60 AS x) DELETE FROM t WHERE id IN (SELECT x FROM n) RETURNING id;
WITH n AS (SELECT id FROM t) SELECT count(*) > 0 FROM n;
DELETE FROM t WHERE id > 3;
----
INSERT 0 1
INSERT 0 1
60|61
UPDATE 1
60
DELETE 1
t
DELETE 8

SELECT id FROM t ORDER BY id FETCH FIRST 2 ROWS ONLY;
SELECT id FROM t ORDER BY id OFFSET 1 ROW FETCH NEXT ROW ONLY;
SELECT ARRAY(SELECT id FROM t ORDER BY id DESC FETCH FIRST 2 ROWS ONLY);
TABLE t ORDER BY id LIMIT 1;
SELECT count(*) FROM (TABLE t) AS s;
----
1
2
2
{3,2}
1|7| x |1.24|2024-02-29|t
3

-- The other columns depend on the key.
CREATE TABLE item (id int, n int, t_id int, PRIMARY KEY (id, n));
INSERT INTO item VALUES (1, 1, 1), (1, 2, 1), (2, 1, 3);
SELECT t.*, count(i.id) FROM t LEFT JOIN item AS i ON i.t_id = t.id GROUP BY t.id ORDER BY t.id;
SELECT id, n, t_id, count(*) FROM item GROUP BY n, id ORDER BY 1, 2;
SELECT id, a + 1 AS a FROM t GROUP BY id HAVING a < 20 ORDER BY b, id;
SELECT id, t_id FROM item GROUP BY id;
----
CREATE TABLE
INSERT 0 3
1|7| x |1.24|2024-02-29|t|2
2|7| x |1.24|2024-02-29|t|0
3|7| x |1.24|2024-02-29|t|1
1|1|1|1
1|2|1|1
2|1|3|1
1|8
2|8
3|8
ERROR:  42803: column "item.t_id" must appear in the GROUP BY clause or be used in an aggregate function

SELECT * FROM generate_series(-2, 0) AS g;
SELECT * FROM generate_series(2, -2, -2) AS g;
SELECT sum(g) FROM generate_series(-3, 3) AS g;
----
-2
-1
0
2
0
-2
0

SELECT 'nope'::regclass;
SELECT 'nope'::regtype;
SELECT 'nope'::regproc;
SELECT current_setting('nope');
SELECT (SELECT id FROM t);
SELECT 'overflow'::int;
SELECT 'out of range'::date;
SELECT 'expects'::boolean;
SELECT format('%s %s %s %L', 1.50, true, '2024-01-02'::date, 'a''b');
SELECT format('%s', '2024-01-02 03:04:05'::timestamp), format('%s', 1e20::float8);
SELECT pg_backend_pid() > 0, (SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid());
----
ERROR:  42P01: relation "nope" does not exist
ERROR:  42704: type "nope" does not exist
ERROR:  42883: function "nope" does not exist
ERROR:  42704: unrecognized configuration parameter "nope"
ERROR:  21000: more than one row returned by a subquery used as an expression
ERROR:  22P02: invalid input syntax for type integer: "overflow"
ERROR:  22007: invalid input syntax for type date: "out of range"
ERROR:  22P02: invalid input syntax for type boolean: "expects"
1.50 t 2024-01-02 'a''b'
2024-01-02 03:04:05|1e+20
t|1

SET application_name = 'a';
BEGIN;
SET LOCAL application_name = 'b';
SET application_name = 'c';
COMMIT;
SHOW application_name;
SET standard_conforming_strings = 'maybe';
DISCARD PLANS;
DISCARD SEQUENCES;
DISCARD TEMP;
SHOW application_name;
EXPLAIN (nope) SELECT 1;
----
SET
BEGIN
SET
SET
COMMIT
c
ERROR:  22023: invalid value for parameter "standard_conforming_strings": "maybe"
DISCARD PLANS
DISCARD SEQUENCES
DISCARD TEMP
c
ERROR:  42601: unrecognized EXPLAIN option "nope"

