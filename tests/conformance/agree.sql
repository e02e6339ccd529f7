-- Types that must agree: literals without a type take the one beside them, kinds that do not compare are refused.
SELECT d < '2021-01-01', ts > '2019-12-31 23:00', tz < 'infinity', c = '3.250', a = ' 2 ', f = 't', b = 'hey', r < '2' FROM (VALUES (date '2020-01-05', timestamp '2020-01-05 10:00', timestamptz '2020-01-05 10:00+02', 3.25::numeric(5,2), 2, true, 'hey', 1.5::real)) v(d, ts, tz, c, a, f, b, r)
SELECT x FROM (VALUES (1.25::numeric(5,2)), (1.26)) v(x) WHERE x < '1.2599'
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x = 'x'
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x IN ('2', '7')
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x IN ('2', 'z')
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x BETWEEN '2' AND '3'
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x BETWEEN '1' AND 'z'
SELECT x FROM (VALUES (1), (2)) v(x) WHERE '2' IN (SELECT 2)
SELECT d FROM (VALUES (date '2020-01-05')) v(d) WHERE d BETWEEN '2020-01-01' AND '2020-01-31'
SELECT t FROM (VALUES (timestamp 'infinity'), (timestamp '2020-05-01')) v(t) WHERE t < 'infinity'
-- an operator has no position here
-- differs: 42883
SELECT x FROM (VALUES ('1'), ('2')) v(x) WHERE x = 2
-- differs: 42883
SELECT x FROM (VALUES ('1'), ('2')) v(x) WHERE x IN (1, 2)
-- differs: 42883
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x = '2'::text
-- differs: 42883
SELECT x FROM (VALUES (1), (2)) v(x) WHERE x IN (SELECT 'a'::text)
-- differs: 42883
SELECT true = 1
-- differs: 42883
SELECT date '2020-01-01' = 5
-- differs: 42883
SELECT 1 + 'a'::text
-- differs: 42883
SELECT true + 1
SELECT CASE WHEN x > 1 THEN 1 ELSE '2' END FROM (VALUES (1), (2)) v(x)
-- all have the digits of the longest
-- differs: (case numeric) | 3.7 | 2.5 | 1.0
SELECT CASE WHEN x > 1 THEN 1 WHEN x > 0 THEN 2.5 ELSE '3.7' END FROM (VALUES (0), (1), (2)) v(x)
SELECT CASE x WHEN '2' THEN 'two' ELSE 'other' END FROM (VALUES (1), (2)) v(x)
-- differs: 42804
SELECT CASE WHEN x > 1 THEN x ELSE 'a'::text END FROM (VALUES (1), (2)) v(x)
-- differs: 42804
SELECT CASE WHEN 1 THEN 2 END
SELECT coalesce(x, '7'), coalesce(null, 'x', 'y'), greatest(x, '5') FROM (VALUES (1), (null)) v(x)
-- differs: 42804
SELECT coalesce(1, 'a'::text)
SELECT 1 UNION SELECT '2' ORDER BY 1
SELECT 1 UNION SELECT 'x'
SELECT '1' UNION ALL SELECT 2 UNION ALL SELECT '3' ORDER BY 1
-- differs: 42804
SELECT 1 UNION SELECT 'x'::text
SELECT x, y FROM (VALUES (1, 'a'), ('2', 'b')) v(x, y)
SELECT * FROM (VALUES (1), ('x')) v(x)
-- differs: 42804
SELECT NOT 1
-- differs: 42804
SELECT 1 AND true
-- differs: 42804
SELECT true OR 'a'::text
SELECT 't' AND true
-- differs: 42804
SELECT x FROM (VALUES (1)) v(x) WHERE x
-- differs: 42804
SELECT 1 FROM (VALUES (1)) v(x) JOIN (VALUES (1)) w(y) ON v.x
-- Subqueries that ask something of the row around them only.
SELECT x, (SELECT y FROM (VALUES (1), (2)) w(y) WHERE w.y = v.x AND v.x > 1) FROM (VALUES (1), (2), (3)) v(x) ORDER BY 1
-- nothing else joins it to the row
-- differs: 0A000
SELECT x, (SELECT y FROM (VALUES (5)) w(y) WHERE v.x > 1) FROM (VALUES (1), (2)) v(x) ORDER BY 1
-- What is refused, and how.
SELECT 'a' ~ '['
-- no position
-- differs: 42P10
SELECT x FROM (VALUES (1)) v(x) ORDER BY 5
-- differs: 42P10
SELECT x FROM (VALUES (1)) v(x) GROUP BY 3
SELECT x FROM (VALUES (1)) v(x) LIMIT -1
SELECT x FROM (VALUES (1)) v(x) OFFSET -2
-- differs: 42803
SELECT x FROM (VALUES (1)) v(x) WHERE count(*) > 1
-- differs: 42803
SELECT sum(count(*)) FROM (VALUES (1)) v(x)
-- differs: 42P20
SELECT x FROM (VALUES (1)) v(x) WHERE sum(x) OVER () > 1
SELECT x, y FROM (VALUES (1, 2)) v(x, y) GROUP BY x
SELECT 1 FROM (VALUES (1)) v(x), (VALUES (1)) v(x)
SELECT U&'\0041'
SELECT chr(0)
SELECT chr(1114112)
SELECT repeat('x', 2000000000)
SELECT repeat('ab', 3), repeat('ab', -1), lpad('5', 3, '0'), rpad('5', 3), lpad('abc', 2), replace('banana', 'a', 'oo'), chr(233)
SELECT split_part('a,b', ',', 0)
SELECT count(1, 2)
SELECT upper()
SELECT substr(1, 2)
SELECT avg(true)
-- Row values are compared column by column.
SELECT (1, NULL) = (1, 2), (1, NULL) = (2, 2), (1, 2) < (1, NULL), (1, 2) < (2, NULL), (1, 2) >= (1, 2), (2, 1) > (1, 5), (1, 2) <> (1, 3)
SELECT (1, 2) IN ((1, NULL), (3, 4)), (1, 2) IN ((1, 2)), (1, 2) NOT IN ((1, 3)), ROW(1, 2) = (1, 2)
SELECT ROW(NULL, NULL) IS NULL, ROW(1, NULL) IS NULL, ROW(1, NULL) IS NOT NULL, ROW(1, 2) IS NOT NULL
SELECT (1, NULL) IS DISTINCT FROM (1, NULL), (1, 2) IS NOT DISTINCT FROM (1, 3)
SELECT x FROM (VALUES (1, 1), (5, NULL)) v(x, y) WHERE (x, y) IN ((1, 1), (5, NULL))
-- Precedence.
SELECT true IS DISTINCT FROM false AND false, true IS DISTINCT FROM true OR true, 1 IS NOT DISTINCT FROM 1 AND true
SELECT x FROM (VALUES (1, true), (2, null), (3, false)) v(x, b) WHERE b IS DISTINCT FROM true AND x > 2
SELECT -2 ^ 2, - 5 ^ 2, -2::int, - 2 * 3, -(-3), 2 - -1
-- Lists over one expression.
SELECT x, x NOT IN (1, 2) OR x NOT IN (3, NULL), NOT (x IN (1, 2) AND x IN (3, NULL)), x IN (1, NULL) AND x NOT IN (1, 3), x NOT IN (1, 2) OR x NOT IN (3) FROM (VALUES (1), (2), (3), (4), (NULL)) v(x) ORDER BY 1
SELECT x, x NOT IN (y, 1) OR x NOT IN (z, 2) FROM (VALUES (1, 1, 2), (2, 1, 2), (1, 5, 1)) v(x, y, z) ORDER BY 1, 2
-- Outer joins and filters on the side that may be missing.
SELECT q.id FROM (VALUES (1), (2)) p(id) RIGHT JOIN (VALUES (1), (2), (3)) q(id) ON q.id = p.id WHERE coalesce(p.id, p.id) IS NOT NULL ORDER BY 1
SELECT q.id FROM (VALUES (1), (2)) p(id) RIGHT JOIN (VALUES (1), (2), (3)) q(id) ON q.id = p.id WHERE (p.id IS NULL) IS NOT TRUE ORDER BY 1
SELECT q.id FROM (VALUES (1), (2)) p(id) RIGHT JOIN (VALUES (1), (2), (3)) q(id) ON q.id = p.id WHERE NOT (p.id <> p.id) ORDER BY 1
SELECT q.id FROM (VALUES (1), (2)) p(id) RIGHT JOIN (VALUES (1), (2), (3)) q(id) ON q.id = p.id AND q.id > 2 WHERE p.id = p.id
SELECT q.id FROM (VALUES (1), (2)) p(id) FULL JOIN (VALUES (1), (2), (3)) q(id) ON q.id = p.id WHERE CASE WHEN p.id > 0 THEN true ELSE p.id IS NOT NULL END ORDER BY 1
-- Scalar subqueries without a row.
SELECT (SELECT 1 WHERE false), (SELECT 1 WHERE false) IS NULL, coalesce((SELECT 1 WHERE false), 7), 5 = (SELECT 1 WHERE false), (SELECT 2 LIMIT 0)
SELECT x FROM (VALUES (1), (2)) v(x) WHERE (SELECT 1 WHERE false) IS NULL ORDER BY 1
SELECT coalesce((SELECT count(*) FROM (VALUES (1)) v(x) HAVING count(*) > 1000), -1)
-- IN and EXISTS over queries.
SELECT x, x IN (SELECT * FROM (VALUES (1), (NULL)) w(y)), x NOT IN (SELECT * FROM (VALUES (1), (2)) w(y)), x IN (SELECT 1 WHERE false) FROM (VALUES (1), (4), (NULL)) v(x) ORDER BY 1
SELECT x FROM (VALUES (1), (4), (NULL)) v(x) WHERE (x IN (SELECT * FROM (VALUES (1), (NULL)) w(y))) IS NULL ORDER BY 1
SELECT x FROM (VALUES (1), (4)) v(x) WHERE coalesce(x IN (SELECT * FROM (VALUES (1), (NULL)) w(y)), true) ORDER BY 1
SELECT x FROM (VALUES (1), (4), (NULL)) v(x) WHERE x NOT IN (SELECT * FROM (VALUES (1), (2)) w(y)) OR x NOT IN (SELECT 9) ORDER BY 1
SELECT x FROM (VALUES (1), (4)) v(x) WHERE x IN (SELECT 4) OR x IN (SELECT 7) OR x = 9
SELECT x FROM (VALUES (1), (4)) v(x) WHERE x = ANY (SELECT * FROM (VALUES (1), (NULL)) w(y))
SELECT x FROM (VALUES (1), (4)) v(x) WHERE x = SOME (SELECT 4) AND x <> ALL (SELECT 1)
SELECT x FROM (VALUES (1), (4)) v(x) WHERE EXISTS (SELECT count(*) FROM (VALUES (1)) w(y) WHERE w.y = v.x) ORDER BY 1
SELECT x FROM (VALUES (1), (4)) v(x) WHERE NOT EXISTS (SELECT count(*) FROM (VALUES (1)) w(y) WHERE w.y = v.x)
SELECT x FROM (VALUES (1), (4)) v(x) WHERE 0 IN (SELECT count(*) FROM (VALUES (1)) w(y) WHERE w.y = v.x)
-- differs: 0A000
SELECT x FROM (VALUES (1), (4)) v(x) WHERE EXISTS (SELECT 1 FROM (VALUES (1)) w(y) WHERE w.y = v.x OFFSET 1)
SELECT DISTINCT (x > 1) IS NOT TRUE, (x > 1) IS UNKNOWN FROM (VALUES (1), (2), (NULL)) v(x) ORDER BY 1, 2
-- Numbers, arrays, strings and intervals.
-- numeric without digits of its own has ten after the point
-- differs: (numeric numeric, numeric numeric, numeric numeric, numeric numeric) | 1000000000000000.0000000000, 123456789.1230000000, 0.1000000000, 1.5000000000
SELECT 1e15::float8::numeric, 123456789.123::float8::numeric, 0.1::float8::numeric, 1.5::real::numeric
-- elements become bigint
-- differs: (array_remove _int8, array_replace _int8) | {2}, {9,2,9}
SELECT array_remove(ARRAY[1, 2, 1], 1), array_replace(ARRAY[1, 2, 1], 1, 9)
SELECT interval '02:34:56', interval '1 day 02:00:00', interval '1:30', interval '1-2', interval 'PT1H', interval '3 days ago', interval '-1 day +2 hours', interval '1.5 months', interval '5', interval '90' minute
SELECT interval 'nope'
SELECT 'a' 'b'
-- differs: 42601
SELECT 1 FROM (VALUES (1)) v(x) JOIN (VALUES (1)) w(y)
-- differs: 42804
SELECT count(*) FILTER (WHERE x) FROM (VALUES (1)) v(x)
-- IN over queries again: names that could be captured, NOT IN that correlates.
SELECT c IN (SELECT 5), c NOT IN (SELECT 5) OR false FROM (VALUES (1), (5)) v(c) ORDER BY 1
SELECT v.x FROM (VALUES (1, 5), (2, -1)) v(x, z) WHERE v.x NOT IN (SELECT w.y FROM (VALUES (NULL::int, 0)) w(y, z) WHERE w.z > v.z) ORDER BY 1
SELECT v.x FROM (VALUES (1, 5), (2, -1), (3, 0)) v(x, z) WHERE NOT (v.x IN (SELECT w.y FROM (VALUES (NULL::int, 0), (2, -1), (4, -1)) w(y, z) WHERE w.z = v.z)) ORDER BY 1
SELECT v.x FROM (VALUES (1, 5), (2, -1), (3, 0)) v(x, z) WHERE v.x <> ALL (SELECT w.y FROM (VALUES (2, -1), (4, -1)) w(y, z) WHERE w.z = v.z) ORDER BY 1
-- a bare name could be a column of the query
-- differs: 0A000
SELECT x FROM (VALUES (1, 5)) v(x, z) WHERE x NOT IN (SELECT w.y FROM (VALUES (1, 5)) w(y, z) WHERE w.z = v.z)
SELECT x::bigint IN (SELECT y FROM (VALUES (1), (2)) w(y)), x::smallint NOT IN (SELECT y FROM (VALUES (1), (2)) w(y)) FROM (VALUES (1), (3)) v(x) ORDER BY 1
SELECT x, EXISTS (SELECT 1 FROM (VALUES (1), (2)) w(y) WHERE w.y = v.x), (SELECT count(*) FROM (VALUES (1), (1)) w(y) WHERE w.y = v.x) FROM (VALUES (1::smallint), (3::smallint)) v(x) ORDER BY 1
-- differs: 0A000
SELECT count(*) IN (SELECT 5) FROM (VALUES (1)) v(x)
SELECT x FROM (VALUES (0.001::numeric(5,3)), (0)) v(x) WHERE x = '1e-3'
SELECT x FROM (VALUES (0.001::numeric(5,3)), (0)) v(x) WHERE x > '1.0e-9' AND x < '1e2'
SELECT x, NOT (b AND x IN (5, 6, 7, 8)) FROM (SELECT x, x IN (1, 2, 3, 4) AS b FROM (VALUES (1), (NULL), (9)) t(x)) q ORDER BY 1
-- differs: 0A000
SELECT (random(), 1) IN ((0.3, 1), (0.7, 1))
-- differs: 0A000
SELECT bool_or(x IN (SELECT 5)) FROM (VALUES (1)) v(x)
SELECT x FROM (SELECT x, y FROM (VALUES (2, 2), (1, NULL), (4, 4)) c(x, y) WHERE x NOT IN (NULL, y, 2)) t WHERE x IN (1, x, 2)
SELECT x FROM (SELECT x FROM (VALUES (1), (2), (3)) c(x) WHERE x NOT IN (2, 5)) t WHERE x IN (1, 2, 3) AND x IN (3, 4) ORDER BY 1
