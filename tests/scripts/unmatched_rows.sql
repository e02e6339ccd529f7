-- same in PostgreSQL
-- Views that show rows by whether they match: outer joins, EXISTS, IN, EXCEPT. The expected answers are PostgreSQL's plain
-- views.

CREATE TABLE orders (id int PRIMARY KEY, customer int, amount int);
CREATE TABLE customers (id int PRIMARY KEY, name text, credit int);
INSERT INTO customers VALUES (1, 'Ada', 10), (2, 'Bob', 0);
INSERT INTO orders VALUES (1, 1, 5), (2, 9, 7), (3, NULL, 1);
----
CREATE TABLE
CREATE TABLE
INSERT 0 2
INSERT 0 3

CREATE MATERIALIZED VIEW named AS SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON c.id = o.customer;
CREATE MATERIALIZED VIEW covered AS
    SELECT o.id, c.name FROM orders o FULL JOIN customers c ON c.id = o.customer AND c.credit >= o.amount;
CREATE MATERIALIZED VIEW per_customer AS
    SELECT c.name, count(o.id) AS orders, coalesce(sum(o.amount), 0) AS total
    FROM orders o RIGHT JOIN customers c ON c.id = o.customer GROUP BY c.name;
CREATE MATERIALIZED VIEW idle AS
    SELECT name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id);
CREATE MATERIALIZED VIEW active AS SELECT name FROM customers WHERE id IN (SELECT customer FROM orders);
CREATE MATERIALIZED VIEW not_in AS SELECT name FROM customers WHERE id NOT IN (SELECT customer FROM orders);
CREATE MATERIALIZED VIEW marked AS
    SELECT id FROM orders o WHERE amount > 6 OR EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer);
CREATE MATERIALIZED VIEW strangers AS SELECT customer FROM orders EXCEPT SELECT id FROM customers;
CREATE MATERIALIZED VIEW above_average AS SELECT id FROM orders WHERE amount > (SELECT avg(amount) FROM orders);
CREATE MATERIALIZED VIEW last_order AS
    SELECT name, (SELECT max(o.id) FROM orders o WHERE o.customer = c.id) AS last FROM customers c;
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

SELECT * FROM named ORDER BY id;
SELECT * FROM covered ORDER BY id, name;
SELECT * FROM per_customer ORDER BY name;
SELECT * FROM idle;
SELECT * FROM active;
SELECT * FROM not_in;
SELECT * FROM marked ORDER BY id;
SELECT * FROM strangers ORDER BY customer;
SELECT * FROM above_average ORDER BY id;
SELECT * FROM last_order ORDER BY name;
----
1|Ada
2|NULL
3|NULL
1|Ada
2|NULL
3|NULL
NULL|Bob
Ada|1|5
Bob|0|0
Bob
Ada
1
2
9
NULL
1
2
Ada|1
Bob|NULL

-- A NULL in the subquery hid everything from NOT IN; Bob gets an order, Ada loses hers.
DELETE FROM orders WHERE id = 3;
SELECT * FROM not_in;
INSERT INTO orders VALUES (4, 2, 100);
UPDATE orders SET customer = 9 WHERE id = 1;
SELECT * FROM named ORDER BY id;
SELECT * FROM covered ORDER BY id, name;
SELECT * FROM per_customer ORDER BY name;
SELECT * FROM idle;
SELECT * FROM active;
SELECT * FROM not_in;
SELECT * FROM marked ORDER BY id;
SELECT * FROM strangers ORDER BY customer;
SELECT * FROM above_average ORDER BY id;
SELECT * FROM last_order ORDER BY name;
----
DELETE 1
Bob
INSERT 0 1
UPDATE 1
1|NULL
2|NULL
4|Bob
1|NULL
2|NULL
4|NULL
NULL|Ada
NULL|Bob
Ada|0|0
Bob|1|100
Ada
Bob
Ada
2
4
9
4
Ada|NULL
Bob|4

-- Nothing left on either side.
DELETE FROM customers;
SELECT * FROM named ORDER BY id;
SELECT * FROM per_customer;
SELECT * FROM covered ORDER BY id;
DELETE FROM orders;
SELECT * FROM named;
SELECT * FROM strangers;
SELECT * FROM above_average;
----
DELETE 2
1|NULL
2|NULL
4|NULL
1|NULL
2|NULL
4|NULL
DELETE 3

-- Rows of the same key that come one by one change nothing but their own pairs.
INSERT INTO customers VALUES (1, 'Ada', 10);
INSERT INTO orders VALUES (1, 1, 5), (2, 1, 50);
INSERT INTO orders VALUES (3, 1, 6);
SELECT * FROM idle;
SELECT * FROM active;
SELECT * FROM covered ORDER BY id;
UPDATE customers SET credit = 5;
SELECT * FROM covered ORDER BY id;
----
INSERT 0 1
INSERT 0 2
INSERT 0 1
Ada
1|Ada
2|NULL
3|Ada
UPDATE 1
1|Ada
2|NULL
3|NULL

