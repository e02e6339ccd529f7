SELECT now()::text = current_timestamp::text, length(now()::text) <= 29
SELECT now() < timestamptz '9999-12-31', now() > timestamptz '0044-03-15 BC', now() < timestamptz 'infinity'
SELECT now() = transaction_timestamp(), now() = statement_timestamp()
SELECT localtimestamp is not null
SELECT timestamp '9999-12-31 10:00' > date '9999-12-31', date '9999-12-31' < timestamp '9999-12-31 10:00'
SELECT timestamp '2024-01-01' = date '2024-01-01', timestamptz '2024-01-01 00:00+00' >= date '2024-01-01'
SELECT d FROM (VALUES (date '2024-01-01'), (date '9000-01-01')) v(d) WHERE d > timestamp '2024-01-01 10:00'
SELECT date_trunc('month', date '2024-05-17'), date_trunc('century', date '9999-05-17')
SELECT date_trunc('decade', timestamp '2024-05-17'), date_trunc('millennium', timestamp '1999-05-17'), date_trunc('quarter', timestamp '1000-05-17')
SELECT date_trunc('second', timestamp '1969-12-31 23:59:58.75'), date_trunc('milliseconds', timestamp '1960-01-01 00:00:00.0005')
SELECT date_trunc('year', 'infinity'::timestamp)
SELECT date_trunc('fortnight', timestamp '2024-05-17')
SELECT extract(second FROM timestamp '2024-05-17 10:11:12.345678'), extract(milliseconds FROM timestamp '2024-05-17 10:11:12.345678'), extract(microseconds FROM timestamp '2024-05-17 10:11:12.345678')
SELECT date_part('second', timestamp '2024-05-17 10:11:12.345678'), date_part('milliseconds', timestamp '2024-05-17 10:11:12.345678')
SELECT extract(epoch FROM timestamp '2024-05-17 10:11:12.345678'), extract(epoch FROM date '2024-05-17'), date_part('epoch', timestamptz '2024-05-17 10:00+00')
SELECT extract(epoch FROM timestamp '1969-12-31 23:59:59.5'), extract(epoch FROM time '10:00:00.5')
SELECT extract(dow FROM date '2024-05-19'), extract(isodow FROM date '2024-05-19'), extract(doy FROM date '2024-05-19')
SELECT extract(week FROM date '2024-12-30'), extract(isoyear FROM date '2024-12-30'), extract(year FROM date '2024-12-30')
SELECT extract(century FROM date '2000-12-31'), extract(century FROM date '2001-01-01'), extract(decade FROM date '1999-01-01'), extract(millennium FROM date '2001-01-01')
SELECT extract(century FROM date '0044-03-15 BC'), extract(year FROM date '0044-03-15 BC'), extract(decade FROM date '0044-03-15 BC')
SELECT extract(julian FROM date '2024-05-17')
SELECT extract(julian FROM timestamp '2024-05-17 10:00')
SELECT date_part('julian', timestamp '2024-05-17 10:00')
SELECT extract(hour FROM timestamp '2024-05-17 10:11:12'), extract(minute FROM time '10:11:12'), extract(quarter FROM date '2024-05-17')
SELECT extract(hour FROM date '2024-05-17')
SELECT date_part('hour', date '2024-05-17')
SELECT extract(timezone FROM timestamptz '2024-05-17 10:00+02')
SELECT extract(timezone FROM timestamp '2024-05-17 10:00')
SELECT extract(fortnight FROM timestamp '2024-05-17 10:00')
SELECT extract(hour FROM 'infinity'::timestamp)
SELECT date_part('year', 'infinity'::timestamp), date_part('month', '-infinity'::date)
-- numeric is finite here
-- differs: 22003
SELECT extract(year FROM 'infinity'::timestamp)
SELECT sum(extract(hour FROM t)) FROM (VALUES (timestamp '2024-05-17 10:00'), (timestamp '2024-05-17 12:00')) v(t)
SELECT '2024-05-17 10:11:12.345678'::timestamp(3), '2024-05-17 10:11:12.5'::timestamp(0), '1999-05-17 10:11:12.5'::timestamp(0)
SELECT timestamptz '2024-05-17 10:11:12.345678+00'::timestamptz(2), '2024-05-17 10:11:12.345678'::timestamp(6)
SELECT array[timestamp '2024-05-17', null]::text, array[true, false]::text, array['a b', 'c']::text
SELECT row_number() OVER ()::text
SELECT '{1,2}'::int[] AS a
SELECT 'b' COLLATE "C" < 'a', 'b' COLLATE "POSIX" > 'a'
-- the position is that of the name
-- differs: 42704 at 26
SELECT 'b' < 'a' COLLATE "xx_XX"
