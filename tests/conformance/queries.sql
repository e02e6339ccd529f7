SELECT (select x from (values (1),(2)) v(x))
SELECT lpad('a', 3, 'xy')
SELECT rpad('abcdef', 3)
SELECT trim(both 'x' from 'xxaxx')
SELECT ltrim('  a')
SELECT btrim('xyaxy','xy')
SELECT null = null, null is null, null is distinct from 1, not null
-- the column is bigint
-- differs: (generate_series int8) | 1 | 2 | 3
SELECT * from generate_series(1,3)
-- the column is bigint
-- differs: (x int8) | 1 | 2 | 3
SELECT * from generate_series(1,3) g(x)
-- the name of the column
-- differs: (UNNEST(make_array(Int64(1),Int64(2),Int64(3))) int4) | 1 | 2 | 3
SELECT * from unnest(array[1,2,3]) u
SELECT array[1,2,3]
SELECT (array[1,2,3])[2]
-- lengths are bigint
-- differs: (array_length int8) | 3
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
-- no LATERAL
-- differs: 0A000
SELECT * from (values (1),(2)) v(x), lateral (select x+1 as z) l order by 1
SELECT exists(select 1 where false)
SELECT 1 = all(select 1)
SELECT 1 > any(select 0)
SELECT 1 union select 1 union all select 2 order by 1
SELECT 1 intersect select 1
-- refused, because the planner does not count rows off
-- differs: 0A000
SELECT 1 except all select 1
SELECT * FROM (VALUES (1)) a(x) LEFT JOIN (VALUES (2)) b(x) USING (x)
SELECT row(1,2) = row(1,2)
SELECT (1,2) < (1,3)
SELECT x.* from (select 1 as a, 2 as b) x
SELECT "A" from (select 1 as "A") t
SELECT * FROM (VALUES (1,'a'),(2,'b')) a(k,x) FULL JOIN (VALUES (2,'c'),(3,'d')) b(k,y) USING (k) ORDER BY k
SELECT * FROM (VALUES (1,'a'),(2,'b')) a(k,x) RIGHT JOIN (VALUES (2,'c'),(3,'d')) b(k,y) USING (k) ORDER BY 1
SELECT y, k, a.k, x FROM (VALUES (1,'a'),(2,'b')) a(k,x) RIGHT JOIN (VALUES (2,'c'),(3,'d')) b(k,y) USING (k) WHERE k > 1 ORDER BY y DESC
SELECT k + 1 AS k, count(*) FROM (VALUES (1,'a'),(2,'b')) a(k,x) FULL JOIN (VALUES (2,'c'),(3,'d')) b(k,y) USING (k) GROUP BY k HAVING k < 3 ORDER BY k
SELECT * FROM (VALUES (1,1,'a'),(2,2,'b')) a(k,l,x) FULL JOIN (VALUES (2,2,'c'),(2,1,'d')) b(l,k,y) USING (k, l) ORDER BY k, l
-- the merged columns of USING and NATURAL come first
SELECT * FROM (VALUES (1, 2)) a(x, id) JOIN (VALUES (2, 3)) b(id, y) USING (id)
SELECT * FROM (VALUES (1, 2), (5, 6)) a(x, id) LEFT JOIN (VALUES (2, 3)) b(id, y) USING (id) ORDER BY 1
SELECT * FROM (VALUES (1, 2)) a(x, id) NATURAL JOIN (VALUES (3, 2)) b(y, id)
SELECT *, a.x FROM (VALUES (1, 2)) a(x, id) JOIN (VALUES (2, 3)) b(id, y) USING (id) JOIN (VALUES (7, 3)) c(z, y) USING (y)
SELECT * FROM (VALUES (1, 2)) a(x, id) JOIN (VALUES (2, 3)) b(id, y) USING (id) JOIN (VALUES (7, 2)) c(z, id) USING (id)
SELECT * FROM (VALUES (1, 2)) a(x, id) JOIN (VALUES (2, 3)) b(id, y) ON a.id = b.id JOIN (VALUES (7, 3)) c(z, y) USING (y)
SELECT * FROM (VALUES (1, 2)) a(x, id) JOIN (VALUES (2, 3)) b(id, y) USING (id), (VALUES (9)) d(w)
SELECT * FROM (VALUES (1)) a(id) JOIN (VALUES (1)) b(id) USING (id)
SELECT * FROM (VALUES (1)) a(x) NATURAL JOIN (VALUES (1), (2)) b(y) ORDER BY 2
SELECT 5 AS id UNION SELECT * FROM (VALUES (1)) a(id) FULL JOIN (VALUES (2)) b(id) USING (id) ORDER BY 1
SELECT a.x FROM (VALUES (1, 2), (3, 4)) a(x, id) JOIN (VALUES (2, 3), (4, 5)) b(id, y) USING (id) WHERE id > 2
SELECT a.id FROM (VALUES (1), (3)) a(id) JOIN (VALUES (1), (3)) b(id) USING (id) WHERE id > 2 AND b.id < 5
SELECT id, count(*) FROM (VALUES (1), (3)) a(id) JOIN (VALUES (1), (3), (3)) b(id) USING (id) GROUP BY id HAVING id > 0 ORDER BY id DESC
SELECT id + 1 AS n FROM (VALUES (1), (3)) a(id) NATURAL JOIN (VALUES (1), (3)) b(id) ORDER BY id DESC
SELECT a.id FROM (VALUES (1), (3)) a(id) JOIN (VALUES (1), (3)) b(id) USING (id) JOIN (VALUES (2)) c(z) ON id > c.z

-- What DataFusion's optimiser gets wrong: sql/src/planner/optimizer.rs.
SELECT t1.x, t2.y, t3.z FROM (VALUES (1,1),(NULL,NULL)) t1(x,y) CROSS JOIN (VALUES (1,1),(NULL,NULL)) t2(x,y) JOIN (VALUES (1),(NULL)) t3(z) ON t1.x = t3.z AND t1.x IS NOT DISTINCT FROM t2.y ORDER BY 1
SELECT t1.x, t2.z FROM (VALUES (1,2)) t1(id,x) RIGHT JOIN (VALUES (1),(2)) t2(z) ON t1.id = t2.z AND t1.x IN (SELECT t3.id FROM (VALUES (2)) t3(id) WHERE false) ORDER BY 2
SELECT t1.x, t2.z FROM (VALUES (1,2),(2,NULL)) t1(id,x) RIGHT JOIN (VALUES (1),(2)) t2(z) ON t1.id = t2.z AND t1.x NOT IN (SELECT t3.id FROM (VALUES (2)) t3(id) WHERE false) ORDER BY 2
SELECT t2.x, (NOT (t1.z = t2.id) OR t2.x < t1.z) FROM (VALUES (1,2,3),(2,NULL,4)) t1(id,x,z) FULL JOIN (VALUES (2,1),(3,NULL)) t2(id,x) ON t1.x = t2.id WHERE t1.x IS NULL ORDER BY 1, 2
SELECT t2.x, (NOT (t1.id = t2.id) OR t2.x < t1.id) FROM (VALUES (1,2),(2,NULL)) t1(id,x) FULL JOIN (VALUES (2,1),(3,5)) t2(id,x) ON t1.x = t2.id WHERE t1.x IS NULL ORDER BY 1, 2
SELECT l.id, r.id FROM (VALUES (1,1,1),(2,2,NULL)) l(id,k,x) LEFT JOIN (VALUES (1,1,1),(2,2,NULL)) r(id,k,y) ON l.k IS NOT DISTINCT FROM r.k WHERE l.x = r.y
SELECT id FROM (VALUES (1),(2),(3)) t(id) WHERE nullif(id, 1) NOT IN (SELECT u.id FROM (VALUES (2)) u(id)) ORDER BY 1
SELECT id FROM (VALUES (1),(2),(3)) t(id) WHERE nullif(id, 1) NOT IN (SELECT u.id FROM (VALUES (2)) u(id) WHERE u.id > 5) ORDER BY 1
SELECT l.id, r.id FROM (VALUES (1,0),(2,1),(3,NULL)) l(id,x) LEFT JOIN (VALUES (1,0),(2,1)) r(id,k) ON l.x = r.k AND 0 = l.x ORDER BY 1
SELECT r.id, l.id FROM (VALUES (1,0),(2,1)) r(id,k) RIGHT JOIN (VALUES (1,0),(2,1),(3,NULL)) l(id,x) ON l.x = r.k AND 0 < l.x AND 1 = l.x ORDER BY 2
SELECT t, count(DISTINCT k) AS c, sum(id) AS s FROM (VALUES ('a',1,1),('a',1,2),('b',2,3)) r(t,k,id) GROUP BY t ORDER BY 1
SELECT count(DISTINCT k) AS c, sum(DISTINCT id) AS s, sum(id) AS t FROM (VALUES (1,1),(1,2),(2,2)) r(k,id)

-- ANY and ALL of queries.
SELECT x, x > ALL (SELECT y FROM (VALUES (1),(0)) e(y)), x >= ANY (SELECT y FROM (VALUES (1),(0)) e(y)), x <> ANY (SELECT y FROM (VALUES (1),(0)) e(y)), x = ALL (SELECT y FROM (VALUES (1),(1)) e(y)) FROM (VALUES (0),(1),(2),(NULL)) l(x) ORDER BY 1
SELECT x, x > ALL (SELECT y FROM (VALUES (1)) e(y) WHERE y > 5), x < ANY (SELECT y FROM (VALUES (1)) e(y) WHERE y > 5), x = ALL (SELECT y FROM (VALUES (1)) e(y) WHERE y > 5) FROM (VALUES (0),(NULL)) l(x) ORDER BY 1
SELECT x, x > ALL (SELECT y FROM (VALUES (1),(NULL)) e(y)), x < ANY (SELECT y FROM (VALUES (1),(NULL)) e(y)), x <= ALL (SELECT y FROM (VALUES (1),(NULL)) e(y)), x <> ANY (SELECT y FROM (VALUES (1),(NULL)) e(y)) FROM (VALUES (0),(1),(2),(NULL)) l(x) ORDER BY 1
SELECT x FROM (VALUES ('a'),('b'),('c')) l(x) WHERE x < SOME (SELECT y FROM (VALUES ('b'),('c')) e(y)) ORDER BY 1
SELECT id FROM (VALUES (1,1),(2,2)) a(id,k) WHERE id <= ALL (SELECT y FROM (VALUES (1,1),(1,3)) b(k,y) WHERE b.k = a.k) ORDER BY 1
SELECT id FROM (VALUES (1,1),(2,2),(3,NULL)) a(id,k) WHERE id <= ALL (SELECT max(y) FROM (VALUES (1,1)) b(k,y) WHERE b.k = a.k) ORDER BY 1
SELECT id FROM (VALUES (1,1),(2,2),(3,NULL)) a(id,k) WHERE (id >= ANY (SELECT max(y) FROM (VALUES (1,1)) b(k,y) WHERE b.k = a.k)) IS NULL ORDER BY 1
SELECT id FROM (VALUES (1,1),(2,2),(3,NULL)) a(id,k) WHERE EXISTS (SELECT 1 FROM (VALUES (1)) b(k) WHERE b.k = a.k HAVING count(*) = 0) ORDER BY 1
SELECT id FROM (VALUES (1,1),(2,2),(3,NULL)) a(id,k) WHERE NOT EXISTS (SELECT 1 FROM (VALUES (1)) b(k) WHERE b.k = a.k HAVING count(*) = 0) ORDER BY 1
