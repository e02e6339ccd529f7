-- What psql's backslash commands show.

CREATE STREAM s (id int NOT NULL, name text);
CREATE TABLE t (id int PRIMARY KEY, name text, x double precision);
CREATE MATERIALIZED VIEW v AS SELECT name, count(*) AS n FROM s GROUP BY name;
----
CREATE STREAM
CREATE TABLE
CREATE MATERIALIZED VIEW

\dt
----
public|s|table|millpond
public|t|table|millpond

\dm
----
public|v|materialized view|millpond

\d
----
public|s|table|millpond
public|t|table|millpond
public|v|materialized view|millpond

\d t
----
id|integer||not null|
name|text|||
x|double precision|||

\d v
----
name|text|||
n|bigint||not null|

SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name = 't' ORDER BY ordinal_position;
----
t|id|integer
t|name|text
t|x|double precision

