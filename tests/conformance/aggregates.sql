-- differs: avg of integers is double precision
SELECT avg(x) from (values (1),(2),(4)) v(x)
SELECT sum(x) from (values (9223372036854775807),(1)) v(x)
SELECT sum(x) from (values (1.5),(2.25)) v(x)
SELECT count(*), count(x), count(distinct x) from (values (1),(1),(null)) v(x)
-- differs: avg of integers is double precision
SELECT sum(x), min(x), max(x), avg(x) from (values (1)) v(x) where false
SELECT string_agg(x, ',') from (values ('a'),('b')) v(x)
SELECT array_agg(x) from (values (1),(2)) v(x)
SELECT bool_and(x), bool_or(x), every(x) from (values (true),(false)) v(x)
-- differs: statistics of integers are double precision
SELECT stddev(x), variance(x), stddev_pop(x), var_pop(x), corr(x,x) from (values (1),(2),(4)) v(x)
SELECT percentile_cont(0.5) within group (order by x) from (values (1),(2),(4)) v(x)
SELECT x, row_number() over (order by x), rank() over (order by x), lag(x) over (order by x), sum(x) over (order by x) from (values (1),(2),(2)) v(x) order by 1,2
SELECT a, sum(b) from (values (1,2),(1,1),(2,3)) v(a,b) group by rollup(a) order by 1
SELECT a, count(*) filter (where b > 1) from (values (1,2),(1,1),(2,3)) v(a,b) group by a having count(*) > 1
with recursive t(n) as (select 1 union all select n+1 from t where n < 5) select sum(n) from t
SELECT regexp_match('foobar', 'o(.)')
-- differs: counts of matches are bigint
SELECT regexp_count('aaa','a')
-- differs: no such function
SELECT regexp_split_to_array('a b', ' ')
SELECT sum(a), count(*) from (values (null::int)) v(a)
