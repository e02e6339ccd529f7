-- same in PostgreSQL
-- Rows found by the primary key, alone and among other conditions, in and out of transactions.

CREATE TABLE stock (shop int, item text, n bigint, PRIMARY KEY (shop, item));
CREATE TABLE prices (item text PRIMARY KEY, price double precision);
INSERT INTO stock SELECT s, 'item ' || i, s * i FROM generate_series(1, 20) AS a(s), generate_series(1, 50) AS b(i);
INSERT INTO prices SELECT 'item ' || i, i FROM generate_series(1, 50) AS b(i);
SELECT * FROM stock WHERE shop = 3 AND item = 'item 7';
SELECT * FROM stock WHERE item = 'item 7' AND shop = 3 AND n > 1000;
SELECT n FROM stock WHERE shop = 3 AND item IN ('item 7', 'item 8', 'item 7', NULL) ORDER BY n;
SELECT item FROM prices WHERE item IN ('item 9', 'nothing', 'item 9') OR item = 'item 10' ORDER BY item;
SELECT count(*) FROM prices WHERE item = 'item 1' AND item = 'item 2';
SELECT count(*) FROM prices WHERE item = NULL;
SELECT count(*) FROM stock JOIN prices ON prices.item = stock.item WHERE prices.item = 'item 3';
----
CREATE TABLE
CREATE TABLE
INSERT 0 1000
INSERT 0 50
3|item 7|21
21
24
item 10
item 9
0
0
20

UPDATE prices SET price = price + 0.5 WHERE item = 'item 9';
UPDATE prices SET item = 'item 99' WHERE item = 'item 10';
DELETE FROM prices WHERE item = 'item 8';
SELECT * FROM prices WHERE item IN ('item 8', 'item 9', 'item 10', 'item 99') ORDER BY item;
----
UPDATE 1
UPDATE 1
DELETE 1
item 9|9.5
item 99|10

BEGIN;
UPDATE stock SET n = -1 WHERE shop = 1 AND item = 'item 1';
UPDATE stock SET shop = 77 WHERE shop = 1 AND item = 'item 2';
INSERT INTO stock VALUES (78, 'item 1', 5);
SELECT * FROM stock WHERE shop = 1 AND item = 'item 1';
SELECT * FROM stock WHERE shop = 1 AND item = 'item 2';
SELECT * FROM stock WHERE shop = 77 AND item = 'item 2';
SELECT * FROM stock WHERE shop = 78 AND item = 'item 1';
DELETE FROM stock WHERE shop = 78 AND item = 'item 1';
SELECT * FROM stock WHERE shop = 78 AND item = 'item 1';
ROLLBACK;
SELECT * FROM stock WHERE shop IN (1, 77, 78) AND item IN ('item 1', 'item 2') ORDER BY item;
----
BEGIN
UPDATE 1
UPDATE 1
INSERT 0 1
1|item 1|-1
77|item 2|2
78|item 1|5
DELETE 1
ROLLBACK
1|item 1|1
1|item 2|2

PREPARE by_item (text) AS SELECT price FROM prices WHERE item = $1;
EXECUTE by_item('item 9');
EXECUTE by_item('item 10');
----
PREPARE
9.5

