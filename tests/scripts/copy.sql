-- same in PostgreSQL
-- COPY in and out, text and csv.

CREATE TABLE t (id int PRIMARY KEY, name text, x double precision);
----
CREATE TABLE

COPY t FROM STDIN;
1	one	1.5
2	\N	\N
3	tab\there	-0.25
\.
SELECT id, replace(name, chr(9), '<tab>'), x FROM t ORDER BY id;
----
COPY 3
1|one|1.5
2|NULL|NULL
3|tab<tab>here|-0.25

COPY t FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA');
id,name,x
4,"comma, quote "" and
a new line",4
5,NA,NA
6,"NA",6.5
\.
SELECT id, replace(name, chr(10), '<newline>'), x FROM t WHERE id > 3 ORDER BY id;
----
COPY 3
4|comma, quote " and<newline>a new line|4
5|NULL|NULL
6|NA|6.5

COPY t (x, id) FROM STDIN WITH (FORMAT csv, DELIMITER ';');
7.25;7
\.
SELECT * FROM t WHERE id = 7;
----
COPY 1
7|NULL|7.25

COPY (SELECT * FROM t ORDER BY id) TO STDOUT;
----
1	one	1.5
2	\N	\N
3	tab\there	-0.25
4	comma, quote " and\na new line	4
5	\N	\N
6	NA	6.5
7	\N	7.25

COPY (SELECT id, name, x FROM t WHERE id IN (1, 5, 6) ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER);
----
id,name,x
1,one,1.5
5,,
6,NA,6.5

-- A bad row: nothing of the COPY stays.
COPY t FROM STDIN;
8	eight	8
9	nine	many
\.
COPY t FROM STDIN WITH (FORMAT csv);
8,eight
\.
SELECT count(*) FROM t;
----
ERROR:  22P02
ERROR:  22P04
7

COPY nowhere TO STDOUT;
----
ERROR:  42P01

