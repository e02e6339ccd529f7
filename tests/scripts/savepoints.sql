-- same in PostgreSQL
-- SAVEPOINT, ROLLBACK TO and RELEASE.

CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE STREAM s (id int);
----
CREATE TABLE
CREATE STREAM

BEGIN;
INSERT INTO t VALUES (1, 'kept');
SAVEPOINT a;
INSERT INTO t VALUES (2, 'lost');
INSERT INTO s VALUES (2);
UPDATE t SET v = 'changed' WHERE id = 1;
SELECT * FROM t ORDER BY id;
ROLLBACK TO SAVEPOINT a;
SELECT * FROM t ORDER BY id;
SELECT * FROM s;
INSERT INTO t VALUES (2, 'second try');
COMMIT;
SELECT * FROM t ORDER BY id;
----
BEGIN
INSERT 0 1
SAVEPOINT
INSERT 0 1
INSERT 0 1
UPDATE 1
1|changed
2|lost
ROLLBACK
1|kept
INSERT 0 1
COMMIT
1|kept
2|second try

-- An error is mended by going back; the savepoint stays and can be used again.
BEGIN;
SAVEPOINT a;
INSERT INTO t VALUES (1, 'duplicate');
SELECT 1;
ROLLBACK TO a;
INSERT INTO t VALUES (3, 'three');
SELECT 1 / 0;
ROLLBACK TO a;
INSERT INTO t VALUES (4, 'four');
COMMIT;
SELECT * FROM t ORDER BY id;
----
BEGIN
SAVEPOINT
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ERROR:  25P02: current transaction is aborted, commands ignored until end of transaction block
ROLLBACK
INSERT 0 1
ERROR:  22012: division by zero
ROLLBACK
INSERT 0 1
COMMIT
1|kept
2|second try
4|four

-- They nest; names may repeat; RELEASE keeps what was written.
BEGIN;
SAVEPOINT a;
INSERT INTO t VALUES (10, 'a');
SAVEPOINT b;
INSERT INTO t VALUES (11, 'b');
SAVEPOINT a;
DELETE FROM t WHERE id = 10;
INSERT INTO t VALUES (10, 'again');
SELECT * FROM t WHERE id >= 10 ORDER BY id;
ROLLBACK TO a;
SELECT * FROM t WHERE id >= 10 ORDER BY id;
RELEASE SAVEPOINT a;
ROLLBACK TO b;
SELECT * FROM t WHERE id >= 10 ORDER BY id;
RELEASE b;
ROLLBACK TO b;
ROLLBACK TO a;
SELECT * FROM t WHERE id >= 10 ORDER BY id;
COMMIT;
SELECT * FROM t ORDER BY id;
----
BEGIN
SAVEPOINT
INSERT 0 1
SAVEPOINT
INSERT 0 1
SAVEPOINT
DELETE 1
INSERT 0 1
10|again
11|b
ROLLBACK
10|a
11|b
RELEASE
ROLLBACK
10|a
RELEASE
ERROR:  3B001: savepoint "b" does not exist
ROLLBACK
COMMIT
1|kept
2|second try
4|four

-- A part of a statement that failed is taken back with it.
BEGIN;
INSERT INTO t VALUES (20, 'first');
SAVEPOINT a;
INSERT INTO t VALUES (21, 'x'), (22, 'y'), (20, 'duplicate');
ROLLBACK TO a;
SELECT * FROM t WHERE id >= 20;
INSERT INTO t VALUES (21, 'x');
COMMIT;
SELECT * FROM t WHERE id >= 20 ORDER BY id;
----
BEGIN
INSERT 0 1
SAVEPOINT
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ROLLBACK
20|first
INSERT 0 1
COMMIT
20|first
21|x

SAVEPOINT a;
RELEASE a;
ROLLBACK TO a;
BEGIN;
RELEASE nope;
ROLLBACK TO nope;
COMMIT;
BEGIN;
SAVEPOINT a;
SELECT 1 / 0;
SAVEPOINT b;
RELEASE a;
COMMIT;
----
ERROR:  25P01: SAVEPOINT can only be used in transaction blocks
ERROR:  25P01: RELEASE SAVEPOINT can only be used in transaction blocks
ERROR:  25P01: ROLLBACK TO SAVEPOINT can only be used in transaction blocks
BEGIN
ERROR:  3B001: savepoint "nope" does not exist
ERROR:  3B001: savepoint "nope" does not exist
ROLLBACK
BEGIN
SAVEPOINT
ERROR:  22012: division by zero
ERROR:  25P02: current transaction is aborted, commands ignored until end of transaction block
ERROR:  25P02: current transaction is aborted, commands ignored until end of transaction block
ROLLBACK

