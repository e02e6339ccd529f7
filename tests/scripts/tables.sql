-- same in PostgreSQL
-- Tables: a primary key, INSERT, UPDATE, DELETE.

CREATE TABLE airlines (carrier text PRIMARY KEY, name text NOT NULL, planes int);
----
CREATE TABLE

INSERT INTO airlines VALUES ('AA', 'American', 10), ('UA', 'United', 20);
INSERT INTO airlines (name, carrier) VALUES ('Delta', 'DL');
SELECT * FROM airlines ORDER BY carrier;
----
INSERT 0 2
INSERT 0 1
AA|American|10
DL|Delta|NULL
UA|United|20

-- A row with the same key is refused, and nothing of the statement stays.
INSERT INTO airlines VALUES ('B6', 'JetBlue', 1), ('AA', 'again', 2);
SELECT count(*) FROM airlines;
----
ERROR:  23505
3

INSERT INTO airlines VALUES (NULL, 'no key', 1);
INSERT INTO airlines VALUES ('XX', NULL, 1);
----
ERROR:  23502
ERROR:  23502

UPDATE airlines SET planes = planes + 5 WHERE carrier IN ('AA', 'UA');
SELECT * FROM airlines ORDER BY carrier;
----
UPDATE 2
AA|American|15
DL|Delta|NULL
UA|United|25

UPDATE airlines SET planes = 1 WHERE carrier = 'nobody';
----
UPDATE 0

-- The key itself may change, also onto a key that the same statement frees.
UPDATE airlines SET carrier = 'D1' WHERE carrier = 'DL';
SELECT carrier FROM airlines ORDER BY carrier;
----
UPDATE 1
AA
D1
UA

DELETE FROM airlines WHERE planes > 20;
SELECT * FROM airlines ORDER BY carrier;
----
DELETE 1
AA|American|15
D1|Delta|NULL

DELETE FROM airlines;
SELECT count(*) FROM airlines;
----
DELETE 2
0

-- A key of two columns.
CREATE TABLE seats (flight int, seat text, passenger text, PRIMARY KEY (flight, seat));
INSERT INTO seats VALUES (1, 'A', 'Ada'), (1, 'B', 'Bob'), (2, 'A', 'Cy');
INSERT INTO seats VALUES (2, 'A', 'Dee');
SELECT * FROM seats ORDER BY flight, seat;
----
CREATE TABLE
INSERT 0 3
ERROR:  23505
1|A|Ada
1|B|Bob
2|A|Cy

INSERT INTO seats SELECT flight + 10, seat, upper(passenger) FROM seats;
SELECT * FROM seats ORDER BY flight, seat;
----
INSERT 0 3
1|A|Ada
1|B|Bob
2|A|Cy
11|A|ADA
11|B|BOB
12|A|CY


-- A list inside the query of an INSERT; lengths and ranges are kept.
CREATE TABLE short (id int PRIMARY KEY, code varchar(3), n bigint);
INSERT INTO short (id, code) SELECT x, 'q' FROM (VALUES (1), (2)) v(x);
INSERT INTO short VALUES (3, 'abcd', 1);
INSERT INTO short VALUES (3, 'äöü', 2147483647 + 1);
INSERT INTO short VALUES (3, 'äöü', 2147483648);
SELECT * FROM short ORDER BY id;
DROP TABLE short;
----
CREATE TABLE
INSERT 0 2
ERROR:  22001
ERROR:  22003
INSERT 0 1
1|q|NULL
2|q|NULL
3|äöü|2147483648
DROP TABLE
