SELECT interval '36 hours' > interval '1 day'
SELECT interval '1 month' = interval '30 days'
SELECT interval '24 hours' = interval '1 day', interval '1 day' <> interval '24 hours'
SELECT interval '1 year' < interval '361 days', interval '1 year' >= interval '360 days'
SELECT interval '24 hours' IS DISTINCT FROM interval '1 day', null::interval IS DISTINCT FROM interval '1 day'
SELECT now() - (now() - interval '2 days') > interval '1 day'
SELECT t - timestamp '2024-01-01' > interval '1 day' FROM (VALUES (timestamp '2024-01-02'), (timestamp '2024-01-03 10:00')) v(t)
SELECT t FROM (VALUES (timestamp '2024-01-02'), (timestamp '2024-01-04')) v(t) WHERE timestamp '2024-01-05' - t < '36 hours'::interval
SELECT interval '24 hours' IN (interval '1 day', interval '2 days'), interval '24 hours' NOT IN (interval '1 day')
SELECT interval '36 hours' BETWEEN interval '1 day' AND interval '2 days'
SELECT i FROM (VALUES (interval '1 day'), (interval '23 hours'), (interval '36 hours'), (interval '1 month')) v(i) ORDER BY i
SELECT i FROM (VALUES (interval '1 day'), (interval '23 hours'), (interval '36 hours')) v(i) ORDER BY i DESC LIMIT 2
SELECT CASE interval '1 day' WHEN interval '24 hours' THEN 'same' END
SELECT a.i, b.i FROM (VALUES (interval '1 day')) a(i) JOIN (VALUES (interval '24 hours')) b(i) ON a.i = b.i
SELECT count(DISTINCT i) FROM (VALUES (interval '1 day'), (interval '24 hours'), (interval '2 days')) v(i)
-- no windows ordered by intervals
-- differs: XX000
SELECT rank() OVER (ORDER BY i) FROM (VALUES (interval '1 day'), (interval '24 hours'), (interval '2 days')) v(i)
-- intervals of one length are one value: which of them is shown would depend on the rows' order
-- differs: 0A000
SELECT i FROM (VALUES (interval '1 day')) v(i) GROUP BY i
-- the same
-- differs: 0A000
SELECT DISTINCT i FROM (VALUES (interval '1 day')) v(i)
-- the same
-- differs: 0A000
SELECT min(i), max(i) FROM (VALUES (interval '1 day')) v(i)
SELECT interval '1 hour' * 3, 3 * interval '1 hour', 1.5 * interval '1 month'
SELECT interval '1 day' / 2, interval '1 month 1 day' / 3, interval '1 year' / 7
SELECT interval '1 month' * 0.1, interval '-1 day 3 hours' * 2.5
SELECT interval '1 day' / 0
SELECT interval '1 year' * 1e9
SELECT (timestamp '2024-01-03' - timestamp '2024-01-01') * 2, (timestamp '2024-01-02' - timestamp '2024-01-01') / 2
SELECT interval '1 day' * x FROM (VALUES (2), (null)) v(x)
SELECT (timestamp '2024-01-03 10:00' - timestamp '2024-01-01')::text, timestamp '2024-01-03 10:00' - timestamp '2024-01-01'
SELECT 'took ' || (timestamp '2024-01-03 10:00' - timestamp '2024-01-01')
SELECT extract(epoch FROM interval '1 year 2 mons 3 days 4 hours 5 mins 6.7 secs')
SELECT extract(second FROM interval '1 min 2.5 sec'), extract(milliseconds FROM interval '2.5 sec'), extract(microseconds FROM interval '2.5 sec')
SELECT extract(day FROM interval '40 days 30 hours'), extract(hour FROM interval '40 days 30 hours'), extract(month FROM interval '14 months'), extract(year FROM interval '14 months')
SELECT extract(quarter FROM interval '14 months'), extract(decade FROM interval '125 years'), extract(century FROM interval '125 years'), extract(millennium FROM interval '1250 years')
SELECT extract(week FROM interval '1 day')
SELECT date_part('epoch', interval '1 month'), date_part('second', interval '1 min 2.5 sec')
SELECT extract(day FROM timestamp '2024-01-03 10:00' - timestamp '2024-01-01'), extract(hour FROM timestamp '2024-01-03 10:00' - timestamp '2024-01-01')
SELECT extract(epoch FROM timestamp '2024-01-03 10:00' - timestamp '2024-01-01')
SELECT date_trunc('hour', interval '3 days 2 hours 47 mins'), date_trunc('year', interval '17 months')
