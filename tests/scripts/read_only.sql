-- same in PostgreSQL
-- READ ONLY is kept: what writes is refused, what reads is not.

CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, 'a');
SHOW transaction_read_only;
----
CREATE TABLE
INSERT 0 1
off

BEGIN READ ONLY;
SHOW transaction_read_only;
SELECT v FROM t;
INSERT INTO t VALUES (2, 'b');
ROLLBACK;
SHOW transaction_read_only;
----
BEGIN
on
a
ERROR:  25006: cannot execute INSERT in a read-only transaction
ROLLBACK
off

BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
UPDATE t SET v = 'x';
ROLLBACK;
BEGIN READ ONLY;
DELETE FROM t;
ROLLBACK;
BEGIN READ ONLY;
SELECT v FROM t FOR UPDATE;
ROLLBACK;
BEGIN READ ONLY;
COPY t FROM STDIN;
ROLLBACK;
BEGIN READ ONLY;
CREATE TABLE u (id int PRIMARY KEY);
ROLLBACK;
BEGIN READ ONLY;
DROP TABLE t;
ROLLBACK;
----
BEGIN
ERROR:  25006: cannot execute UPDATE in a read-only transaction
ROLLBACK
BEGIN
ERROR:  25006: cannot execute DELETE in a read-only transaction
ROLLBACK
BEGIN
ERROR:  25006: cannot execute SELECT FOR UPDATE in a read-only transaction
ROLLBACK
BEGIN
ERROR:  25006: cannot execute COPY FROM in a read-only transaction
ROLLBACK
BEGIN
ERROR:  25006: cannot execute CREATE TABLE in a read-only transaction
ROLLBACK
BEGIN
ERROR:  25006: cannot execute DROP TABLE in a read-only transaction
ROLLBACK

BEGIN;
SET TRANSACTION READ ONLY;
INSERT INTO t VALUES (2, 'b');
ROLLBACK;
BEGIN READ ONLY;
SET TRANSACTION READ WRITE;
INSERT INTO t VALUES (2, 'b');
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM t;
SET TRANSACTION READ WRITE;
ROLLBACK;
----
BEGIN
SET
ERROR:  25006: cannot execute INSERT in a read-only transaction
ROLLBACK
BEGIN
SET
INSERT 0 1
COMMIT
BEGIN
2
ERROR:  25001: transaction read-write mode must be set before any query
ROLLBACK

SET default_transaction_read_only = 'yes';
SHOW default_transaction_read_only;
SHOW transaction_read_only;
INSERT INTO t VALUES (3, 'c');
BEGIN READ WRITE;
INSERT INTO t VALUES (3, 'c');
COMMIT;
BEGIN;
INSERT INTO t VALUES (4, 'd');
ROLLBACK;
PREPARE ins AS INSERT INTO t VALUES (4, 'd');
EXECUTE ins;
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
EXECUTE ins;
SELECT count(*) FROM t;
----
SET
on
on
ERROR:  25006: cannot execute INSERT in a read-only transaction
BEGIN
INSERT 0 1
COMMIT
BEGIN
ERROR:  25006: cannot execute INSERT in a read-only transaction
ROLLBACK
PREPARE
ERROR:  25006: cannot execute INSERT in a read-only transaction
SET
INSERT 0 1
4

