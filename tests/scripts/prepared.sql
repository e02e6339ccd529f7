-- same in PostgreSQL
-- PREPARE, EXECUTE and DEALLOCATE as statements.

CREATE TABLE t (id int PRIMARY KEY, v text);
PREPARE put (int, text) AS INSERT INTO t VALUES ($1, $2);
EXECUTE put (1, 'one');
EXECUTE put (1 + 1, upper('two'));
EXECUTE put (1, 'duplicate');
PREPARE find AS SELECT v FROM t WHERE id = $1;
EXECUTE find (2);
EXECUTE find (3);
PREPARE mark AS UPDATE t SET v = v || $2 WHERE id = $1 RETURNING v;
EXECUTE mark (1, '!');
PREPARE everything AS SELECT * FROM t ORDER BY id;
EXECUTE everything;
----
CREATE TABLE
PREPARE
INSERT 0 1
INSERT 0 1
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
PREPARE
TWO
PREPARE
one!
UPDATE 1
PREPARE
1|one!
2|TWO

EXECUTE find;
EXECUTE find (1, 2);
EXECUTE find ('x');
EXECUTE nope;
PREPARE find AS SELECT 1;
PREPARE bad AS SELECT * FROM nope;
DEALLOCATE find;
EXECUTE find (1);
DEALLOCATE find;
DEALLOCATE PREPARE put;
BEGIN;
EXECUTE mark (1, '?');
ROLLBACK;
EXECUTE everything;
DEALLOCATE ALL;
EXECUTE everything;
----
ERROR:  42601: wrong number of parameters for prepared statement "find"
ERROR:  42601: wrong number of parameters for prepared statement "find"
ERROR:  22P02: invalid input syntax for type integer: "x"
ERROR:  26000: prepared statement "nope" does not exist
ERROR:  42P05: prepared statement "find" already exists
ERROR:  42P01: relation "nope" does not exist
DEALLOCATE
ERROR:  26000: prepared statement "find" does not exist
ERROR:  26000: prepared statement "find" does not exist
DEALLOCATE
BEGIN
one!?
UPDATE 1
ROLLBACK
1|one!
2|TWO
DEALLOCATE ALL
ERROR:  26000: prepared statement "everything" does not exist

