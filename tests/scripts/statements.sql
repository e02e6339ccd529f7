-- same in PostgreSQL
-- Statements in all their spellings: WITH before a change, FETCH, TABLE, DEFAULT, lists with subqueries, keys in GROUP BY.

CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text DEFAULT ' x ', c numeric(5,2) DEFAULT 1.235, d date DEFAULT '2024-02-29', ok boolean DEFAULT 'yes');
INSERT INTO t (id) VALUES (1);
INSERT INTO t VALUES (2, 20), (3, DEFAULT);
SELECT * FROM t ORDER BY id;
----

INSERT INTO t SELECT id + 10, a FROM t WHERE id = 2;
INSERT INTO t SELECT 20 UNION ALL SELECT 21;
INSERT INTO t VALUES ((SELECT max(id) + 1 FROM t), 5), (30, (SELECT count(*) FROM t));
INSERT INTO t (id, d) VALUES ((SELECT 40), '2024-03-01');
UPDATE t SET a = DEFAULT, b = DEFAULT WHERE id = 2;
SELECT id, a, b, d FROM t WHERE id = 2 OR id > 10 ORDER BY id;
SELECT * FROM (VALUES ((SELECT max(id) FROM t), 1), (2, 3)) AS v ORDER BY 1;
INSERT INTO t VALUES (50, 1) ON CONFLICT (id) DO UPDATE SET a = DEFAULT;
----

WITH n AS (SELECT 60 AS id) INSERT INTO t SELECT id, 1 FROM n;
WITH n AS (SELECT 61 AS id) INSERT INTO t WITH m AS (SELECT id + 1 AS id FROM n) SELECT id, 2 FROM m;
WITH n AS (SELECT 60 AS x) UPDATE t SET a = (SELECT x FROM n) + 1 WHERE id IN (SELECT x FROM n) RETURNING id, a;
WITH n AS (SELECT 60 AS x) DELETE FROM t WHERE id IN (SELECT x FROM n) RETURNING id;
WITH n AS (SELECT id FROM t) SELECT count(*) > 0 FROM n;
DELETE FROM t WHERE id > 3;
----

SELECT id FROM t ORDER BY id FETCH FIRST 2 ROWS ONLY;
SELECT id FROM t ORDER BY id OFFSET 1 ROW FETCH NEXT ROW ONLY;
SELECT ARRAY(SELECT id FROM t ORDER BY id DESC FETCH FIRST 2 ROWS ONLY);
TABLE t ORDER BY id LIMIT 1;
SELECT count(*) FROM (TABLE t) AS s;
----

-- The other columns depend on the key.
CREATE TABLE item (id int, n int, t_id int, PRIMARY KEY (id, n));
INSERT INTO item VALUES (1, 1, 1), (1, 2, 1), (2, 1, 3);
SELECT t.*, count(i.id) FROM t LEFT JOIN item AS i ON i.t_id = t.id GROUP BY t.id ORDER BY t.id;
SELECT id, n, t_id, count(*) FROM item GROUP BY n, id ORDER BY 1, 2;
SELECT id, a + 1 AS a FROM t GROUP BY id HAVING a < 20 ORDER BY b, id;
SELECT id, t_id FROM item GROUP BY id;
----

SELECT * FROM generate_series(-2, 0) AS g;
SELECT * FROM generate_series(2, -2, -2) AS g;
SELECT sum(g) FROM generate_series(-3, 3) AS g;
----

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

