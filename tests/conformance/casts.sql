SELECT 2147483647::int + 1::int
SELECT 32767::smallint * 2::smallint
SELECT 1.5::int
SELECT 2.5::int
SELECT -2.5::int
SELECT 2.5::float8::int
SELECT 3.5::float8::int
SELECT '1.5'::int
SELECT 1.005::numeric(10,2)
SELECT 2.675::numeric(5,2)
SELECT 70000::smallint
-- differs: varchar is shown as text
SELECT 'abcdef'::varchar(3)
SELECT 'ab'::char(5) || 'x'
SELECT 1::float8/0
SELECT round(2.5)
SELECT round(-2.5)
SELECT round(2.345, 2)
SELECT round(2.5::float8)
-- differs: the scale of the argument is kept
SELECT trunc(2.7)
-- differs: the scale of the argument is kept
SELECT trunc(2.789,2)
SELECT 1.0::float8::text
SELECT 1e20::float8::text
SELECT 0.1::float4::text
SELECT 1e-7::float8::text
SELECT true::text
SELECT 'yes'::boolean
SELECT 1::boolean
SELECT 't'::bool
SELECT 'NaN'::float8 = 'NaN'::float8
SELECT 'NaN'::float8 > 1
SELECT 'Infinity'::float8
-- differs: numeric without precision is numeric(38,10)
SELECT cast('123' as numeric)
-- differs: numeric without precision is numeric(38,10)
SELECT '1e3'::numeric
SELECT ' 12 '::int
-- differs: there is one collation
SELECT 'a'::text collate "C"
SELECT 0.1 + 0.2
SELECT 0.1::float8 + 0.2::float8
SELECT 1e308::float8 * 10
SELECT 100000 * 100000
SELECT 1000000000000::bigint * 10000000
-- differs: no such function
SELECT num_nulls(1,null)
-- differs: no such function
SELECT pg_typeof(1)
-- differs: no such function
SELECT pg_typeof('a'::text)
-- differs: no such function
SELECT pg_typeof(1.5)
SELECT 1::int8::text || 'x'
SELECT cast(null as int)
SELECT null::text
-- differs: see the next line
SELECT -2147483648 - 1
SELECT -32768::smallint
