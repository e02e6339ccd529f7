-- same in PostgreSQL
-- A transaction block reads what it has written itself; nobody else does before COMMIT.

CREATE TABLE t (id int PRIMARY KEY, v text, n int);
CREATE STREAM s (id int, v text);
CREATE MATERIALIZED VIEW totals AS SELECT v, count(*) AS rows, sum(n) AS n FROM t GROUP BY v;
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);
INSERT INTO s VALUES (1, 'committed');
----
CREATE TABLE
CREATE STREAM
CREATE MATERIALIZED VIEW
INSERT 0 3
INSERT 0 1

-- Every statement sees those before it.
BEGIN;
INSERT INTO t VALUES (4, 'four', 4);
SELECT * FROM t ORDER BY id;
UPDATE t SET n = n * 10 WHERE id >= 3;
SELECT * FROM t ORDER BY id;
DELETE FROM t WHERE n = 40;
DELETE FROM t WHERE id = 1;
SELECT * FROM t ORDER BY id;
INSERT INTO t VALUES (1, 'uno', 100);
UPDATE t SET n = n + 1 WHERE id = 1;
UPDATE t SET id = 5 WHERE id = 2;
SELECT * FROM t ORDER BY id;
SELECT count(*), sum(n) FROM t;
COMMIT;
SELECT * FROM t ORDER BY id;
SELECT * FROM totals ORDER BY v;
----
BEGIN
INSERT 0 1
1|one|1
2|two|2
3|three|3
4|four|4
UPDATE 2
1|one|1
2|two|2
3|three|30
4|four|40
DELETE 1
DELETE 1
2|two|2
3|three|30
INSERT 0 1
UPDATE 1
UPDATE 1
1|uno|101
3|three|30
5|two|2
3|133
COMMIT
1|uno|101
3|three|30
5|two|2
three|1|30
two|1|2
uno|1|101

-- What nets out to nothing changes nothing.
BEGIN;
INSERT INTO t VALUES (9, 'nine', 9);
UPDATE t SET n = 90 WHERE id = 9;
DELETE FROM t WHERE id = 9;
DELETE FROM t WHERE id = 5;
INSERT INTO t VALUES (5, 'two', 2);
UPDATE t SET v = 'x' WHERE id = 3;
UPDATE t SET v = 'three' WHERE id = 3;
COMMIT;
SELECT * FROM t ORDER BY id;
SELECT * FROM totals ORDER BY v;
----
BEGIN
INSERT 0 1
UPDATE 1
DELETE 1
DELETE 1
INSERT 0 1
UPDATE 1
UPDATE 1
COMMIT
1|uno|101
3|three|30
5|two|2
three|1|30
two|1|2
uno|1|101

-- Rows of streams are there too, and go with ROLLBACK.
BEGIN;
INSERT INTO s VALUES (2, 'mine'), (3, 'mine');
SELECT * FROM s ORDER BY id;
SELECT count(*) FROM s WHERE v = 'mine';
INSERT INTO s SELECT id + 10, v FROM s WHERE v = 'mine';
SELECT * FROM s ORDER BY id;
ROLLBACK;
SELECT * FROM s ORDER BY id;
----
BEGIN
INSERT 0 2
1|committed
2|mine
3|mine
2
INSERT 0 2
1|committed
2|mine
3|mine
12|mine
13|mine
ROLLBACK
1|committed

-- Joins, subqueries and INSERT ... SELECT see both.
BEGIN;
INSERT INTO s VALUES (3, 'joined');
DELETE FROM t WHERE id = 5;
SELECT t.id, s.v FROM t JOIN s ON t.id = s.id ORDER BY t.id;
SELECT id FROM t WHERE id IN (SELECT id FROM s) ORDER BY id;
INSERT INTO t SELECT id + 20, v, 0 FROM t;
SELECT id FROM t ORDER BY id;
COMMIT;
SELECT id FROM t ORDER BY id;
----
BEGIN
INSERT 0 1
DELETE 1
1|committed
3|joined
1
3
INSERT 0 2
1
3
21
23
COMMIT
1
3
21
23

-- A duplicate key is found by the statement that makes it: committed rows and own rows count.
BEGIN;
INSERT INTO t VALUES (1, 'again', 0);
ROLLBACK;
BEGIN;
INSERT INTO t VALUES (50, 'fifty', 0);
INSERT INTO t VALUES (50, 'again', 0);
SELECT 1;
COMMIT;
SELECT count(*) FROM t WHERE id = 50;
----
BEGIN
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ROLLBACK
BEGIN
INSERT 0 1
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ERROR:  25P02: current transaction is aborted, commands ignored until end of transaction block
ROLLBACK
0

BEGIN;
DELETE FROM t WHERE id = 1;
INSERT INTO t VALUES (1, 'back', 0);
INSERT INTO t VALUES (1, 'again', 0);
ROLLBACK;
BEGIN;
UPDATE t SET id = 60 WHERE id = 1;
INSERT INTO t VALUES (1, 'free again', 0);
UPDATE t SET id = 60 WHERE id = 1;
ROLLBACK;
INSERT INTO t VALUES (70, 'a', 0), (70, 'b', 0);
SELECT * FROM t ORDER BY id;
----
BEGIN
DELETE 1
INSERT 0 1
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ROLLBACK
BEGIN
UPDATE 1
INSERT 0 1
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ROLLBACK
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
1|uno|101
3|three|30
21|uno|0
23|three|0

