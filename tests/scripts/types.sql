-- same in PostgreSQL
-- Every column type, there and back, with NULLs and extremes.

CREATE TABLE everything (
    id int PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision,
    n numeric(12,2), t text, v varchar, y bytea, d date, ts timestamp, tz timestamptz
);
----
CREATE TABLE

INSERT INTO everything VALUES
    (1, true, 1, 2, 3, 1.5, 2.25, 12.34, 'text', 'varchar', '\x00ff', '2013-01-02', '2013-01-02 03:04:05', '2013-01-02 03:04:05+00');
SELECT * FROM everything;
----
INSERT 0 1
1|t|1|2|3|1.5|2.25|12.34|text|varchar|\x00ff|2013-01-02|2013-01-02 03:04:05|2013-01-02 03:04:05+00

INSERT INTO everything (id) VALUES (2);
SELECT * FROM everything WHERE id = 2;
----
INSERT 0 1
2|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL

INSERT INTO everything VALUES
    (3, false, -32768, -2147483648, -9223372036854775808, -0.5, 1e300, -9999999999.99, '', 'ünï🦆', '\x', '1970-01-01',
     '1999-12-31 23:59:59.999999', '2013-06-01 12:00:00.5+02'),
    (4, false, 32767, 2147483647, 9223372036854775807, 0, 'Infinity', 0.01, 'it''s', 'a|b', '\xdeadbeef', '2100-02-28',
     '2000-02-29 00:00:00', '1969-12-31 23:59:59+00');
SELECT id, i2, i4, i8, f4, f8, n FROM everything WHERE id > 2 ORDER BY id;
SELECT id, b, t, v, y FROM everything WHERE id > 2 ORDER BY id;
SELECT id, d, ts, tz FROM everything WHERE id > 2 ORDER BY id;
----
INSERT 0 2
3|-32768|-2147483648|-9223372036854775808|-0.5|1e+300|-9999999999.99
4|32767|2147483647|9223372036854775807|0|Infinity|0.01
3|f||ünï🦆|\x
4|f|it's|a|b|\xdeadbeef
3|1970-01-01|1999-12-31 23:59:59.999999|2013-06-01 10:00:00.5+00
4|2100-02-28|2000-02-29 00:00:00|1969-12-31 23:59:59+00

-- Out of range, not a number, not a date.
INSERT INTO everything (id, i2) VALUES (5, 40000);
INSERT INTO everything (id, i4) VALUES (5, 'seven');
INSERT INTO everything (id, d) VALUES (5, 'yesterdayish');
----
ERROR:  22003
ERROR:  22P02
ERROR:  22007

SELECT 1 / 0;
SELECT i4 / 0 FROM everything WHERE id = 1;
----
ERROR:  22012
ERROR:  22012

SELECT '42'::int, 42::text, 1.5::double precision, true::text, '2013-01-02'::date;
----
42|42|1.5|true|2013-01-02

