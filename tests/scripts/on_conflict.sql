-- same in PostgreSQL
-- INSERT ... ON CONFLICT.

CREATE TABLE t (id int PRIMARY KEY, v text, n int);
CREATE TABLE pairs (a int, b int, v text, PRIMARY KEY (a, b));
INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2);
----
CREATE TABLE
CREATE TABLE
INSERT 0 2

INSERT INTO t VALUES (1, 'new', 10), (3, 'three', 3) ON CONFLICT DO NOTHING;
INSERT INTO t VALUES (4, 'four', 4), (4, 'again', 5) ON CONFLICT (id) DO NOTHING;
INSERT INTO t VALUES (1, 'new', 10) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING;
SELECT * FROM t ORDER BY id;
----
INSERT 0 1
INSERT 0 1
INSERT 0 0
1|one|1
2|two|2
3|three|3
4|four|4

INSERT INTO t VALUES (1, 'uno', 10), (5, 'five', 5) ON CONFLICT (id) DO UPDATE SET v = excluded.v, n = t.n + excluded.n;
SELECT * FROM t ORDER BY id;
INSERT INTO t AS x VALUES (2, 'dos', 20) ON CONFLICT (id) DO UPDATE SET v = x.v || '/' || excluded.v WHERE x.n < 100;
INSERT INTO t VALUES (2, 'zwei', 20), (6, 'six', 6) ON CONFLICT (id) DO UPDATE SET v = 'never' WHERE t.n > 100;
SELECT * FROM t ORDER BY id;
----
INSERT 0 2
1|uno|11
2|two|2
3|three|3
4|four|4
5|five|5
INSERT 0 1
INSERT 0 1
1|uno|11
2|two/dos|2
3|three|3
4|four|4
5|five|5
6|six|6

-- RETURNING gives what was inserted and updated, in order.
INSERT INTO t VALUES (7, 'seven', 7), (1, 'eins', 0), (8, 'eight', 8), (2, 'zwei', 0)
  ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING id, v, n;
INSERT INTO t VALUES (1, 'skipped', 0), (9, 'nine', 9) ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO t VALUES (1, 'skipped', 0) ON CONFLICT DO NOTHING RETURNING id;
----
7|seven|7
1|eins|11
8|eight|8
2|zwei|2
INSERT 0 4
9
INSERT 0 1
INSERT 0 0

INSERT INTO pairs VALUES (1, 1, 'a'), (1, 2, 'b');
INSERT INTO pairs VALUES (1, 2, 'c'), (2, 2, 'd') ON CONFLICT (b, a) DO UPDATE SET v = excluded.v;
SELECT * FROM pairs ORDER BY a, b;
----
INSERT 0 2
INSERT 0 2
1|1|a
1|2|c
2|2|d

-- In a block the rows it wrote itself conflict too.
BEGIN;
INSERT INTO t VALUES (20, 'own', 0);
INSERT INTO t VALUES (20, 'upserted', 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v, n = t.n + 1;
DELETE FROM t WHERE id = 1;
INSERT INTO t VALUES (1, 'inserted', 1), (20, 'x', 0) ON CONFLICT (id) DO UPDATE SET n = t.n + 1;
SELECT * FROM t WHERE id IN (1, 20) ORDER BY id;
COMMIT;
SELECT * FROM t WHERE id IN (1, 20) ORDER BY id;
----
BEGIN
INSERT 0 1
INSERT 0 1
DELETE 1
INSERT 0 2
1|inserted|1
20|upserted|2
COMMIT
1|inserted|1
20|upserted|2

INSERT INTO t VALUES (30, 'a', 0), (30, 'b', 0) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
INSERT INTO t VALUES (1, 'a', 0), (1, 'b', 0) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT (v) DO NOTHING;
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT (nope) DO NOTHING;
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT ON CONSTRAINT nope DO NOTHING;
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT DO UPDATE SET v = 'x';
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT (id) DO UPDATE SET v = v || 'x';
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT (id) DO UPDATE SET nope = 1;
INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT (id) DO UPDATE SET id = 2;
INSERT INTO pairs VALUES (1, 1, 'x') ON CONFLICT (a) DO NOTHING;
SELECT * FROM t WHERE id IN (1, 2, 30) ORDER BY id;
----
ERROR:  21000: ON CONFLICT DO UPDATE command cannot affect row a second time
ERROR:  21000: ON CONFLICT DO UPDATE command cannot affect row a second time
ERROR:  42P10: there is no unique or exclusion constraint matching the ON CONFLICT specification
ERROR:  42703: column "nope" does not exist
ERROR:  42704: constraint "nope" for table "t" does not exist
ERROR:  42601: ON CONFLICT DO UPDATE requires inference specification or constraint name
ERROR:  42702: column reference "v" is ambiguous
ERROR:  42703: column "nope" of relation "t" does not exist
ERROR:  23505: duplicate key value violates unique constraint "t_pkey"
ERROR:  42P10: there is no unique or exclusion constraint matching the ON CONFLICT specification
1|inserted|1
2|zwei|2

