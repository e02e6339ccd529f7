SELECT 1/0
SELECT md5('a')
SELECT encode('abc'::bytea, 'hex')
SELECT decode('616263','hex')
SELECT '2013-02-30'::date
SELECT 'abc'::timestamp
SELECT '10:20'::time
SELECT '25:00'::time
SELECT 'a' = 1
SELECT bogus(1)
SELECT x from nothing
SELECT y from (values (1)) v(x)
SELECT a.x from (values (1)) v(x)
SELECT x, count(*) from (values (1)) v(x)
-- the position is not known
-- differs: 42804
SELECT 1 where 1
-- an unknown literal is text
-- differs: 42883 at 8
SELECT sum('a')
-- length takes anything that can be cast to text
-- differs: (length int4) | 1
SELECT length(5)
