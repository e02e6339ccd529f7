-- same in PostgreSQL
-- Several statements in one query string (psql sends `\;` as it is) are one transaction.

CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE STREAM s (id int);
----
CREATE TABLE
CREATE STREAM

-- The error in the third takes back the first two.
INSERT INTO t VALUES (1, 'a')\; INSERT INTO s VALUES (1)\; SELECT 1 / 0\; INSERT INTO t VALUES (2, 'b');
SELECT * FROM t;
SELECT * FROM s;
----
INSERT 0 1
INSERT 0 1
ERROR:  22012: division by zero

INSERT INTO t VALUES (1, 'a')\; INSERT INTO s VALUES (1)\; SELECT * FROM t\; UPDATE t SET v = 'b'\; SELECT * FROM t;
SELECT * FROM t;
SELECT * FROM s;
----
INSERT 0 1
INSERT 0 1
1|a
UPDATE 1
1|b
1|b
1

INSERT INTO t VALUES (2, 'c')\; INSERT INTO t VALUES (1, 'duplicate');
SELECT * FROM t ORDER BY id;
----
INSERT 0 1
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
1|b

-- COMMIT in the string ends the part before it.
BEGIN\; INSERT INTO t VALUES (3, 'kept')\; COMMIT\; INSERT INTO t VALUES (4, 'lost')\; SELECT 1 / 0;
SELECT * FROM t ORDER BY id;
----
BEGIN
INSERT 0 1
COMMIT
INSERT 0 1
ERROR:  22012: division by zero
1|b
3|kept

INSERT INTO t VALUES (5, 'kept')\; COMMIT\; INSERT INTO t VALUES (6, 'lost')\; SELECT 1 / 0;
INSERT INTO t VALUES (7, 'lost')\; ROLLBACK\; INSERT INTO t VALUES (8, 'kept');
SELECT * FROM t ORDER BY id;
----
INSERT 0 1
COMMIT
INSERT 0 1
ERROR:  22012: division by zero
INSERT 0 1
ROLLBACK
INSERT 0 1
1|b
3|kept
5|kept
8|kept

-- BEGIN takes over what was written before it, and the block stays open.
INSERT INTO t VALUES (9, 'lost')\; BEGIN\; INSERT INTO t VALUES (10, 'lost');
SELECT count(*) FROM t;
ROLLBACK;
SELECT count(*) FROM t;
INSERT INTO t VALUES (9, 'kept')\; BEGIN\; INSERT INTO t VALUES (10, 'kept');
COMMIT;
SELECT count(*) FROM t;
----
INSERT 0 1
BEGIN
INSERT 0 1
6
ROLLBACK
4
INSERT 0 1
BEGIN
INSERT 0 1
COMMIT
6

-- In an open block the string is a part of it.
BEGIN;
INSERT INTO t VALUES (11, 'x')\; SELECT count(*) FROM t;
SELECT count(*) FROM t;
SELECT 1 / 0\; SELECT 2;
SELECT 3\; ROLLBACK\; SELECT 4;
ROLLBACK;
SELECT count(*) FROM t;
----
BEGIN
INSERT 0 1
7
7
ERROR:  22012: division by zero
ERROR:  25P02: current transaction is aborted, commands ignored until end of transaction block
ROLLBACK
6

SAVEPOINT a\; SELECT 1;
SELECT 1\; SELECT 2;
----
ERROR:  25P01: SAVEPOINT can only be used in transaction blocks
1
2

