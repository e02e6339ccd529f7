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
-- varchar is shown as text
-- differs: (varchar text) | abc
SELECT 'abcdef'::varchar(3)
SELECT 'ab'::char(5) || 'x'
SELECT 1::float8/0
SELECT round(2.5)
SELECT round(-2.5)
SELECT round(2.345, 2)
SELECT round(2.5::float8)
SELECT trunc(2.7)
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
-- numeric without precision is numeric(38,10)
-- differs: (numeric numeric) | 123.0000000000
SELECT cast('123' as numeric)
-- numeric without precision is numeric(38,10)
-- differs: (numeric numeric) | 1000.0000000000
SELECT '1e3'::numeric
SELECT ' 12 '::int
-- there is one collation
-- differs: 42601 at 18
SELECT 'a'::text collate "C"
SELECT 0.1 + 0.2
SELECT 0.1::float8 + 0.2::float8
SELECT 1e308::float8 * 10
SELECT 100000 * 100000
SELECT 1000000000000::bigint * 10000000
-- no such function
-- differs: 42883 at 8
SELECT num_nulls(1,null)
-- no such function
-- differs: 42883 at 8
SELECT pg_typeof(1)
-- no such function
-- differs: 42883 at 8
SELECT pg_typeof('a'::text)
-- no such function
-- differs: 42883 at 8
SELECT pg_typeof(1.5)
SELECT 1::int8::text || 'x'
SELECT cast(null as int)
SELECT null::text
-- the literal 2147483648 is bigint before it is negated
-- differs: (?column? int8) | -2147483649
SELECT -2147483648 - 1
SELECT -32768::smallint
SELECT typname, typlen, typbyval, typarray, typalign, typstorage FROM pg_type WHERE oid IN (26, 27, 28, 29) ORDER BY oid
SELECT format_type(27, null), format_type(1007, null), format_type(1700, 786438)
SELECT b, b = 't', 'false' = b FROM (VALUES (true), (false), (null)) v(b)
