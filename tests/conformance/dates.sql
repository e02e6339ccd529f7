SELECT now()::text is not null
SELECT timestamp '2013-01-01 10:00:00'::text
SELECT date '2013-01-01'::text
SELECT timestamptz '2013-01-01 10:00:00+02'::text
SELECT interval '1 day 2 hours'::text
SELECT date '2013-01-31' + interval '1 month'
SELECT date '2013-01-31' + 1
SELECT date '2013-03-01' - date '2013-02-01'
SELECT timestamp '2013-01-02' - timestamp '2013-01-01 10:00'
SELECT extract(dow from date '2013-01-06')
SELECT extract(epoch from timestamp '2013-01-01')
SELECT date_part('week', date '2013-01-06')
SELECT date_trunc('week', timestamp '2013-01-06 10:00')
SELECT date_trunc('hour', timestamptz '2013-01-06 10:33+00')
SELECT to_char(timestamp '2013-01-06 10:03:04', 'YYYY-MM-DD HH24:MI:SS')
SELECT to_date('05 Dec 2000', 'DD Mon YYYY')
SELECT to_timestamp(0)
SELECT age(timestamp '2013-01-06', timestamp '2012-12-01')
-- generate_series of timestamps is not supported
-- differs: 42000
SELECT * from generate_series(timestamp '2013-01-01', timestamp '2013-01-03', interval '1 day')
SELECT current_date is not null
SELECT current_timestamp is not null
SELECT localtimestamp is not null
SELECT current_time is not null
SELECT timestamptz '2013-01-01 10:00+00' at time zone 'America/New_York'
SELECT timestamp '2013-01-01 10:00' at time zone 'America/New_York'
SELECT timestamp '2024-11-03 01:30' at time zone 'America/New_York'
SELECT timestamp '2024-03-10 02:30' at time zone 'America/New_York'
-- numeric time zones are refused
-- differs: 0A000
SELECT timestamptz '2020-01-01 00:00+00' at time zone '+05:00'
SELECT to_char('infinity'::timestamp, 'YYYY')
SELECT make_date(2013,1,2)
SELECT date_part('year', date '2013-05-05')
-- no such function
-- differs: 42883 at 8
SELECT justify_hours(interval '30 hours')
SELECT extract(hour from interval '2 days 3 hours')
SELECT interval '1 hour' * 3
SELECT interval '1 day' / 2
SELECT interval '1 day' > interval '23 hours'
-- intervals cannot be summed
-- differs: 42883 at 8
SELECT sum(i) from (values (interval '1 hour'), (interval '30 min')) v(i)
SELECT '1 year'::interval
SELECT '1-2'::interval
SELECT 'P1DT2H'::interval
SELECT now() - interval '1 day' < now()
SELECT date '2025-01-01' + 200000, date '2025-01-01' - 3, 4 + date '2025-01-01', date 'infinity' + 1
SELECT date '2025-01-01' + 2147483647
-- no position
-- differs: 42846
SELECT 5::timestamptz
-- no position
-- differs: 42846
SELECT 5::date
-- no position
-- differs: 42846
SELECT date '2025-01-01'::int
SELECT date '2025-01-01' - date '2024-12-30'
