-- same in PostgreSQL
-- RETURNING: expressions over the rows a statement wrote.

CREATE TABLE t (id int PRIMARY KEY, v text, n int DEFAULT 7);
----
CREATE TABLE

INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2) RETURNING *;
INSERT INTO t (id, v) VALUES (3, 'three') RETURNING id, n, upper(v) AS loud, id + n;
INSERT INTO t AS x SELECT id + 10, v, n FROM t ORDER BY id RETURNING x.*;
UPDATE t SET n = n + 100 WHERE id < 3 RETURNING id, n;
UPDATE t AS y SET v = 'changed' WHERE y.id = 1 RETURNING y.v, CASE WHEN y.n > 100 THEN 'big' END AS size;
UPDATE t SET v = 'nobody' WHERE id = 1000 RETURNING id;
DELETE FROM t WHERE id > 10 AND n < 5 RETURNING id, v;
DELETE FROM t WHERE id = 1000 RETURNING *;
SELECT * FROM t ORDER BY id;
----
1|one|1
2|two|2
INSERT 0 2
3|7|THREE|10
INSERT 0 1
11|one|1
12|two|2
13|three|7
INSERT 0 3
1|101
2|102
UPDATE 2
changed|big
UPDATE 1
UPDATE 0
11|one
12|two
DELETE 2
DELETE 0
1|changed|101
2|two|102
3|three|7
13|three|7

-- The statement succeeds only if its RETURNING does.
INSERT INTO t VALUES (50, 'x', 0) RETURNING 1 / n;
INSERT INTO t VALUES (50, 'x', 0) RETURNING nope;
UPDATE t SET n = 0 RETURNING 1 / n;
SELECT count(*), min(n) FROM t;
INSERT INTO t VALUES (1, 'duplicate', 0) RETURNING id;
INSERT INTO t VALUES (60, 'x', 0) RETURNING count(*);
----
ERROR:  22012: division by zero
ERROR:  42703: column "nope" does not exist
ERROR:  22012: division by zero
4|7
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ERROR:  42803: aggregate and window functions are not allowed in RETURNING

BEGIN;
INSERT INTO t VALUES (70, 'seventy', 70) RETURNING id;
UPDATE t SET n = 71 WHERE id = 70 RETURNING n;
DELETE FROM t WHERE id = 70 RETURNING *;
ROLLBACK;
----
BEGIN
70
INSERT 0 1
71
UPDATE 1
70|seventy|71
DELETE 1
ROLLBACK

