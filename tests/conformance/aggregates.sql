-- avg of integers is double precision
-- differs: (avg float8) | 2.3333333333333335
SELECT avg(x) from (values (1),(2),(4)) v(x)
SELECT sum(x) from (values (9223372036854775807),(1)) v(x)
SELECT sum(x) from (values (1.5),(2.25)) v(x)
SELECT count(*), count(x), count(distinct x) from (values (1),(1),(null)) v(x)
-- avg of integers is double precision
-- differs: (sum int8, min int4, max int4, avg float8) | NULL, NULL, NULL, NULL
SELECT sum(x), min(x), max(x), avg(x) from (values (1)) v(x) where false
SELECT string_agg(x, ',') from (values ('a'),('b')) v(x)
SELECT array_agg(x) from (values (1),(2)) v(x)
SELECT bool_and(x), bool_or(x), every(x) from (values (true),(false)) v(x)
-- statistics of integers are double precision
-- differs: (stddev float8, variance float8, stddev_pop float8, var_pop float8, corr float8) | 1.5275252316519465, 2.333333333333333, 1.247219128924647, 1.5555555555555554, 1
SELECT stddev(x), variance(x), stddev_pop(x), var_pop(x), corr(x,x) from (values (1),(2),(4)) v(x)
SELECT percentile_cont(0.5) within group (order by x) from (values (1),(2),(4)) v(x)
SELECT x, row_number() over (order by x), rank() over (order by x), lag(x) over (order by x), sum(x) over (order by x) from (values (1),(2),(2)) v(x) order by 1,2
SELECT a, sum(b) from (values (1,2),(1,1),(2,3)) v(a,b) group by rollup(a) order by 1
SELECT a, count(*) filter (where b > 1) from (values (1,2),(1,1),(2,3)) v(a,b) group by a having count(*) > 1
with recursive t(n) as (select 1 union all select n+1 from t where n < 5) select sum(n) from t
SELECT regexp_match('foobar', 'o(.)')
-- counts of matches are bigint
-- differs: (regexp_count int8) | 3
SELECT regexp_count('aaa','a')
-- no such function
-- differs: 42883 at 8
SELECT regexp_split_to_array('a b', ' ')
SELECT sum(a), count(*) from (values (null::int)) v(a)
