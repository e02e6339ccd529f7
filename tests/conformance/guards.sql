SELECT x FROM (VALUES (0), (1), (2), (3), (0), (-4)) v(x) WHERE x <> 0 AND 10 / x > 3
SELECT x FROM (VALUES (0), (1), (2), (3), (0), (-4)) v(x) WHERE x = 0 OR 10 / x > 4 ORDER BY x
SELECT x FROM (VALUES ('1'), ('a'), ('22'), ('3')) v(x) WHERE x <> 'a' AND x::int > 1
SELECT x FROM (VALUES ('1'), ('a'), ('22'), ('3')) v(x) WHERE x ~ '^[0-9]+$' AND x::int <> 0 AND 100 / x::int > 10 ORDER BY x
SELECT x <> 0 AND 10 / x > 3 FROM (VALUES (0), (1), (2), (3), (0), (null)) v(x)
SELECT x = 0 OR 10 / x > 3 FROM (VALUES (0), (1), (2), (3), (0), (null)) v(x)
SELECT CASE WHEN x <> 0 THEN 10 / x > 3 END FROM (VALUES (0), (1), (2), (3), (0)) v(x)
SELECT CASE WHEN x <> 0 THEN 10 / x > 3 ELSE false END FROM (VALUES (0), (1), (2), (3), (0)) v(x)
SELECT x FROM (VALUES (0), (1), (2), (3), (0)) v(x) WHERE NOT (x = 0 OR 10 / x > 3)
SELECT a.x, b.x FROM (VALUES (0), (2)) a(x) LEFT JOIN (VALUES (0), (1)) b(x) ON a.x >= b.x AND b.x <> 0 AND 10 / b.x > 5 ORDER BY 1, 2
SELECT k FROM (VALUES (1, 0), (2, 5)) v(k, x) GROUP BY k HAVING sum(x) <> 0 AND 10 / sum(x) >= 2
SELECT x FROM (VALUES (0), (1)) v(x) WHERE 10 / x > 3 AND x > 5
SELECT l.x, r.flag FROM (VALUES (null::int, 5), (2, 5), (2, 0)) l(x, y) JOIN (VALUES (false), (true)) r(flag) ON (l.x > 1 AND (l.y = 0 OR 10 / l.y > 1)) = r.flag ORDER BY 1, 2
SELECT extract(year FROM t) FROM (VALUES (timestamp 'infinity'), (timestamp '2020-05-01')) v(t) WHERE t < 'infinity' AND extract(year FROM t) = 2020
