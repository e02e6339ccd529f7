-- same in PostgreSQL
-- Each operator a view may use, under inserts, updates and deletes. The expected answers are PostgreSQL's plain views.

CREATE TABLE orders (id int PRIMARY KEY, customer int, amount double precision, item text);
CREATE TABLE customers (id int PRIMARY KEY, name text, region text);
INSERT INTO customers VALUES (1, 'Ada', 'north'), (2, 'Bob', 'south'), (3, 'Cy', 'north');
INSERT INTO orders VALUES (1, 1, 10, 'ink'), (2, 1, 2.5, 'pen'), (3, 2, 10, 'ink'), (4, 9, 1, 'pen');
----
CREATE TABLE
CREATE TABLE
INSERT 0 3
INSERT 0 4

CREATE MATERIALIZED VIEW filtered AS SELECT * FROM orders WHERE amount > 2;
CREATE MATERIALIZED VIEW projected AS SELECT id, amount * 2 AS twice, upper(item) AS item FROM orders;
CREATE MATERIALIZED VIEW grouped AS
    SELECT item, count(*) AS n, sum(amount) AS total, avg(amount) AS mean, min(amount) AS lo, max(amount) AS hi FROM orders GROUP BY item;
CREATE MATERIALIZED VIEW joined AS
    SELECT o.id, c.name, o.item FROM orders o JOIN customers c ON c.id = o.customer;
CREATE MATERIALIZED VIEW by_region AS
    SELECT c.region, count(*) AS n, sum(o.amount) AS total FROM orders o JOIN customers c ON c.id = o.customer GROUP BY c.region;
CREATE MATERIALIZED VIEW everything AS SELECT id, item AS what FROM orders UNION ALL SELECT id, name FROM customers;
CREATE MATERIALIZED VIEW items AS SELECT DISTINCT item FROM orders;
CREATE MATERIALIZED VIEW either AS SELECT item AS word FROM orders UNION SELECT name FROM customers;
CREATE MATERIALIZED VIEW busy AS SELECT item, count(*) AS n FROM orders GROUP BY item HAVING count(*) > 1;
CREATE MATERIALIZED VIEW counted AS
    SELECT customer, count(DISTINCT item) AS kinds, sum(amount) FILTER (WHERE item = 'ink') AS ink FROM orders GROUP BY customer;
CREATE MATERIALIZED VIEW whole AS SELECT count(*) AS n, sum(amount) AS total FROM orders;
----
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW

SELECT * FROM filtered ORDER BY id;
SELECT * FROM projected ORDER BY id;
----
1|1|10|ink
2|1|2.5|pen
3|2|10|ink
1|20|INK
2|5|PEN
3|20|INK
4|2|PEN

SELECT * FROM grouped ORDER BY item;
SELECT * FROM joined ORDER BY id;
SELECT * FROM by_region ORDER BY region;
----
ink|2|20|10|10|10
pen|2|3.5|1.75|1|2.5
1|Ada|ink
2|Ada|pen
3|Bob|ink
north|2|12.5
south|1|10

SELECT * FROM everything ORDER BY id, what;
SELECT * FROM items ORDER BY item;
SELECT * FROM either ORDER BY word;
SELECT * FROM busy ORDER BY item;
SELECT * FROM counted ORDER BY customer;
SELECT * FROM whole;
----
1|Ada
1|ink
2|Bob
2|pen
3|Cy
3|ink
4|pen
ink
pen
Ada
Bob
Cy
ink
pen
ink|2
pen|2
1|2|10
2|1|10
9|1|NULL
4|23.5

-- A customer turns up after the order, another moves.
INSERT INTO customers VALUES (9, 'Zoe', 'east');
UPDATE customers SET region = 'south' WHERE id = 1;
SELECT * FROM joined ORDER BY id;
SELECT * FROM by_region ORDER BY region;
SELECT * FROM either ORDER BY word;
----
INSERT 0 1
UPDATE 1
1|Ada|ink
2|Ada|pen
3|Bob|ink
4|Zoe|pen
east|1|1
south|3|22.5
Ada
Bob
Cy
Zoe
ink
pen

-- The largest goes, the smallest changes.
DELETE FROM orders WHERE id = 1;
UPDATE orders SET amount = 4, item = 'ink' WHERE id = 4;
SELECT * FROM grouped ORDER BY item;
SELECT * FROM items ORDER BY item;
SELECT * FROM busy ORDER BY item;
SELECT * FROM counted ORDER BY customer;
SELECT * FROM by_region ORDER BY region;
----
DELETE 1
UPDATE 1
ink|2|14|7|4|10
pen|1|2.5|2.5|2.5|2.5
ink
pen
ink|2
1|1|NULL
2|1|10
9|1|4
east|1|4
south|2|12.5

DELETE FROM orders;
SELECT * FROM grouped;
SELECT * FROM items;
SELECT * FROM whole;
SELECT * FROM everything ORDER BY id;
----
DELETE 3
0|NULL
1|Ada
2|Bob
3|Cy
9|Zoe

