-- same in PostgreSQL
-- Output columns: their names, several of one name, and what ORDER BY means by a name.

CREATE TABLE t (id int PRIMARY KEY, amount double precision, ts timestamp, name text);
INSERT INTO t VALUES (1, -2.6, '2024-01-03 10:00:00', 'b'), (2, 1.2, '2024-01-02 11:00:00', 'c'),
    (3, -0.4, '2024-01-04 09:00:00', 'a');
CREATE TABLE u (id int PRIMARY KEY, x int);
INSERT INTO u VALUES (1, 10), (2, 20);
----
CREATE TABLE
INSERT 0 3
CREATE TABLE
INSERT 0 2

SELECT t.id, t.* FROM t ORDER BY id;
SELECT *, id FROM u ORDER BY id;
SELECT id, * FROM u ORDER BY 1 DESC;
SELECT *, u.x FROM t JOIN u ON t.id = u.id ORDER BY u.x;
SELECT u.id, t.*, u.* FROM t JOIN u USING (id) ORDER BY 1;
SELECT id, id, x AS id FROM u ORDER BY x;
SELECT *, x + 1 AS x FROM u ORDER BY 1;
SELECT 1, 1, NULL, NULL;
SELECT count(*), count(*), max(x), max(x) FROM u;
----
1|1|-2.6|2024-01-03 10:00:00|b
2|2|1.2|2024-01-02 11:00:00|c
3|3|-0.4|2024-01-04 09:00:00|a
1|10|1
2|20|2
2|2|20
1|1|10
1|-2.6|2024-01-03 10:00:00|b|1|10|10
2|1.2|2024-01-02 11:00:00|c|2|20|20
1|1|-2.6|2024-01-03 10:00:00|b|1|10
2|2|1.2|2024-01-02 11:00:00|c|2|20
1|1|10
2|2|20
1|10|11
2|20|21
1|1|NULL|NULL
2|2|20|20

-- A name inside an expression is a column of the table, a name alone one of the output.
SELECT ts::date FROM t ORDER BY extract(hour FROM ts);
SELECT amount::int FROM t ORDER BY abs(amount);
SELECT -amount AS amount FROM t ORDER BY amount;
SELECT -amount AS amount FROM t ORDER BY amount + 0;
SELECT id::text AS name, name AS id FROM t ORDER BY name, id;
SELECT id::text AS name, name AS id FROM t ORDER BY lower(name);
SELECT DISTINCT ts::date FROM t ORDER BY ts;
SELECT abs(amount) FROM t ORDER BY abs DESC;
SELECT x AS a, id AS a FROM u ORDER BY a;
SELECT date_trunc('month', ts) AS m, count(*) FROM t GROUP BY m ORDER BY m;
SELECT ts::date, count(*) FROM t GROUP BY ts::date ORDER BY count(*), ts::date;
SELECT amount::int FROM t GROUP BY amount HAVING amount > 0;
----
2024-01-04
2024-01-03
2024-01-02
0
1
-3
-1.2
0.4
2.6
2.6
0.4
-1.2
1|b
2|c
3|a
3|a
1|b
2|c
2024-01-02
2024-01-03
2024-01-04
2.6
1.2
0.4
ERROR:  42702: ORDER BY "a" is ambiguous
2024-01-01 00:00:00|3
2024-01-02|1
2024-01-03|1
2024-01-04|1
1

-- The columns of a subquery keep their names.
SELECT s.count, s.max FROM (SELECT count(*), max(x), max(x) + 1 FROM u) AS s;
SELECT s.ts FROM (SELECT ts::date FROM t) AS s ORDER BY 1;
SELECT * FROM (SELECT id, * FROM u) AS s ORDER BY x;
WITH w AS (SELECT x, x::text, x + 1 FROM u) SELECT * FROM w ORDER BY 1;
SELECT max(x) FROM u UNION SELECT 1 ORDER BY max;
----
2|20
2024-01-02
2024-01-03
2024-01-04
1|1|10
2|2|20
10|10|11
20|20|21
1
20

\pset tuples_only off
SELECT *, id FROM u WHERE id = 1;
SELECT id, *, x::text, x + 1, -x AS id FROM u WHERE id = 1;
SELECT count(*), count(*) AS n, (SELECT max(x) FROM u) FROM u;
\pset tuples_only on
----
id|x|id
1|10|1
(1 row)
id|id|x|x|?column?|id
1|1|10|10|11|-10
(1 row)
count|n|max
2|2|20
(1 row)

SELECT 'nonsense'::nosuchtype;
SELECT id FROM t ORDER BY name COLLATE "C";
SELECT current_user = session_user, 3 OPERATOR(pg_catalog.+) 4;
SELECT id FROM t WHERE id = ANY ('{1,3}') ORDER BY id;
SELECT i FROM generate_series(1, 3) AS i;
SELECT generate_series FROM generate_series(1, 2);
----
ERROR:  42704: type "nosuchtype" does not exist
3
1
2
t|7
1
3
1
2
3
1
2

-- Subqueries as values.
SELECT ARRAY(SELECT x FROM u ORDER BY id DESC);
SELECT ARRAY(SELECT x FROM u ORDER BY id DESC LIMIT 1);
SELECT ARRAY(SELECT 7);
SELECT ARRAY(SELECT x FROM u WHERE false);
SELECT ARRAY(SELECT DISTINCT x / 10 FROM u ORDER BY 1 DESC);
SELECT ARRAY(SELECT count(*) FROM t GROUP BY amount > 0 ORDER BY count(*));
SELECT ARRAY(SELECT x FROM u UNION ALL SELECT 5 ORDER BY 1);
SELECT id, ARRAY(SELECT x FROM u WHERE u.id = t.id) FROM t ORDER BY id;
SELECT id, EXISTS (SELECT 1 FROM u WHERE u.id = t.id) FROM t ORDER BY id;
SELECT EXISTS (SELECT 1), NOT EXISTS (SELECT 1 FROM u LIMIT 1), EXISTS (SELECT max(x) FROM u WHERE false);
SELECT CASE WHEN EXISTS (SELECT 1 FROM u UNION SELECT 2) THEN 'yes' END;
SELECT (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM t);
SELECT (SELECT round(stddev(amount)::numeric, 3) FROM t), (SELECT bool_or(x > 10) FROM u);
SELECT id, (SELECT string_agg(name, ',') FROM t AS i WHERE i.id = t.id) FROM t ORDER BY id;
SELECT (SELECT x FROM u);
----
{20,10}
{20}
{7}
{}
{2,1}
{1,2}
{5,10,20}
1|{10}
2|{20}
3|{}
1|t
2|t
3|f
t|f|t
yes
-0.4
1.908|t
1|b
2|c
3|a
ERROR:  21000: more than one row returned by a subquery used as an expression

