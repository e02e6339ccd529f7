-- same in PostgreSQL
-- Transactions over streams and tables: together or not at all.

CREATE STREAM events (id int, what text);
CREATE TABLE state (id int PRIMARY KEY, what text);
CREATE MATERIALIZED VIEW counts AS SELECT what, count(*) AS n FROM events GROUP BY what;
----
CREATE STREAM
CREATE TABLE
CREATE MATERIALIZED VIEW

BEGIN;
INSERT INTO events VALUES (1, 'a'), (2, 'b');
INSERT INTO state VALUES (1, 'a');
COMMIT;
SELECT * FROM events ORDER BY id;
SELECT * FROM state ORDER BY id;
SELECT * FROM counts ORDER BY what;
----
BEGIN
INSERT 0 2
INSERT 0 1
COMMIT
1|a
2|b
1|a
a|1
b|1

BEGIN;
INSERT INTO events VALUES (3, 'c');
UPDATE state SET what = 'changed';
ROLLBACK;
SELECT count(*) FROM events;
SELECT * FROM state;
SELECT * FROM counts ORDER BY what;
----
BEGIN
INSERT 0 1
UPDATE 1
ROLLBACK
2
1|a
a|1
b|1

-- An error fails the block: nothing more is heard until it ends, and COMMIT rolls back.
BEGIN;
INSERT INTO events VALUES (4, 'd');
SELECT 1 / 0;
SELECT 1;
COMMIT;
SELECT count(*) FROM events;
----
BEGIN
INSERT 0 1
ERROR:  22012
ERROR:  25P02
ROLLBACK
2

