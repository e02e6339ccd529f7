SELECT now()::text is not null
SELECT timestamp '2013-01-01 10:00:00'::text
SELECT date '2013-01-01'::text
SELECT timestamptz '2013-01-01 10:00:00+02'::text
SELECT interval '1 day 2 hours'::text
SELECT date '2013-01-31' + interval '1 month'
SELECT date '2013-01-31' + 1
-- differs: the difference of dates is bigint
SELECT date '2013-03-01' - date '2013-02-01'
SELECT timestamp '2013-01-02' - timestamp '2013-01-01 10:00'
-- differs: extract gives integer
SELECT extract(dow from date '2013-01-06')
-- differs: extract gives double precision
SELECT extract(epoch from timestamp '2013-01-01')
-- differs: date_part gives integer
SELECT date_part('week', date '2013-01-06')
SELECT date_trunc('week', timestamp '2013-01-06 10:00')
SELECT date_trunc('hour', timestamptz '2013-01-06 10:33+00')
SELECT to_char(timestamp '2013-01-06 10:03:04', 'YYYY-MM-DD HH24:MI:SS')
SELECT to_date('05 Dec 2000', 'DD Mon YYYY')
SELECT to_timestamp(0)
SELECT age(timestamp '2013-01-06', timestamp '2012-12-01')
-- differs: generate_series of timestamps is not supported
SELECT * from generate_series(timestamp '2013-01-01', timestamp '2013-01-03', interval '1 day')
SELECT current_date is not null
SELECT current_timestamp is not null
-- differs: no localtimestamp
SELECT localtimestamp is not null
SELECT current_time is not null
SELECT timestamptz '2013-01-01 10:00+00' at time zone 'America/New_York'
SELECT timestamp '2013-01-01 10:00' at time zone 'America/New_York'
SELECT timestamp '2024-11-03 01:30' at time zone 'America/New_York'
SELECT timestamp '2024-03-10 02:30' at time zone 'America/New_York'
-- differs: numeric time zones are refused
SELECT timestamptz '2020-01-01 00:00+00' at time zone '+05:00'
SELECT to_char('infinity'::timestamp, 'YYYY')
SELECT make_date(2013,1,2)
-- differs: date_part gives integer
SELECT date_part('year', date '2013-05-05')
-- differs: no such function
SELECT justify_hours(interval '30 hours')
-- differs: extract gives integer
SELECT extract(hour from interval '2 days 3 hours')
-- differs: intervals cannot be multiplied
SELECT interval '1 hour' * 3
-- differs: intervals cannot be divided
SELECT interval '1 day' / 2
SELECT interval '1 day' > interval '23 hours'
-- differs: intervals cannot be summed
SELECT sum(i) from (values (interval '1 hour'), (interval '30 min')) v(i)
SELECT '1 year'::interval
-- differs: this spelling of intervals is not read
SELECT '1-2'::interval
-- differs: this spelling of intervals is not read
SELECT 'P1DT2H'::interval
SELECT now() - interval '1 day' < now()
