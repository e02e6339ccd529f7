SELECT (select x from (values (1),(2)) v(x))
SELECT lpad('a', 3, 'xy')
SELECT rpad('abcdef', 3)
SELECT trim(both 'x' from 'xxaxx')
SELECT ltrim('  a')
SELECT btrim('xyaxy','xy')
SELECT null = null, null is null, null is distinct from 1, not null
-- differs: the column is called value, and is bigint
SELECT * from generate_series(1,3)
-- differs: the column is bigint
SELECT * from generate_series(1,3) g(x)
-- differs: the name of the column
SELECT * from unnest(array[1,2,3]) u
SELECT array[1,2,3]
SELECT (array[1,2,3])[2]
-- differs: lengths are bigint
SELECT array_length(array[1,2,3],1)
SELECT 2 = any(array[1,2])
SELECT case when 1=1 then 'a' else 'b' end
SELECT case 2 when 1 then 'x' end
SELECT x from (values (3),(1),(null),(2)) v(x) order by x
SELECT x from (values (3),(1),(null),(2)) v(x) order by x desc
SELECT x from (values (3),(1),(null),(2)) v(x) order by x nulls first limit 2 offset 1
SELECT distinct on (a) a, b from (values (1,2),(1,1),(2,3)) v(a,b) order by a, b
SELECT * from (values (1,'a')) v(x,y) natural join (values (1,'b')) w(x,z)
SELECT * from (values (1),(2)) v(x) left join (values (1)) w(y) on x=y order by 1
-- differs: no LATERAL
SELECT * from (values (1),(2)) v(x), lateral (select x+1 as z) l order by 1
-- differs: EXISTS stands in WHERE only
SELECT exists(select 1 where false)
-- differs: no ALL (subquery)
SELECT 1 = all(select 1)
-- differs: no ANY (subquery) with an inequality
SELECT 1 > any(select 0)
SELECT 1 union select 1 union all select 2 order by 1
SELECT 1 intersect select 1
-- differs: refused, because the planner does not count rows off
SELECT 1 except all select 1
SELECT * FROM (VALUES (1)) a(x) LEFT JOIN (VALUES (2)) b(x) USING (x)
SELECT row(1,2) = row(1,2)
SELECT (1,2) < (1,3)
SELECT x.* from (select 1 as a, 2 as b) x
SELECT "A" from (select 1 as "A") t
