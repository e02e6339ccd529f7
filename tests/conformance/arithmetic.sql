SELECT 9223372036854775807 + 1
SELECT -(-9223372036854775808)
-- differs: the literal is numeric before it is negated
SELECT abs(-9223372036854775808)
SELECT abs((-9223372036854775807 - 1)::bigint)
SELECT 7/2
SELECT -7/2
SELECT 7%3
SELECT -7%3
SELECT 7.0/2
SELECT 1.0/0
-- differs: a numeric quotient has 16 digits after the point, not 16 significant ones
SELECT 1/3.0
SELECT 10/4.0
SELECT 2*1.50
SELECT greatest(1, null, 3)
SELECT least(1, null, 3)
SELECT nullif(1,1)
SELECT coalesce(null, 2)
SELECT true and null
SELECT false and null
SELECT true or null
SELECT 1 in (2, null)
SELECT 1 in (1, null)
SELECT 1 not in (2, null)
SELECT 2 ^ 3
SELECT |/ 16
SELECT @ -5
SELECT 5 & 3
SELECT 5 | 3
SELECT 5 # 3
-- differs: no operator ~
SELECT ~5
SELECT 1 << 3
-- differs: powers are double precision
SELECT power(2, 0.5)
SELECT sqrt(2)
SELECT exp(1)
SELECT ln(10)
SELECT log(100)
-- differs: logarithms are double precision
SELECT log(2, 8)
-- differs: the C library rounds otherwise
SELECT cbrt(27)
SELECT mod(10, 3)
SELECT sign(-2)
SELECT pi()
-- differs: the scale of the argument is kept
SELECT ceil(-1.5)
-- differs: the scale of the argument is kept
SELECT floor(-1.5)
-- differs: the scale of the argument is kept
SELECT ceiling(1.2)
-- differs: set-returning functions stand in FROM only
SELECT generate_series(1,3)
SELECT 12345678901234567890
SELECT 123456789012345678901234567890.5
SELECT 5 between 1 and 10
-- differs: no BETWEEN SYMMETRIC
SELECT 5 between symmetric 10 and 1
-- differs: no such function
SELECT width_bucket(5.35, 0.024, 10.06, 5)
-- differs: the arguments become bigint
SELECT gcd(12,18)
-- differs: factorials are bigint
SELECT factorial(5)
-- differs: no such function
SELECT div(7,2)
SELECT random() < 1
SELECT mod(-7,3)
SELECT -7 % 3
SELECT 7.5 % 2
SELECT mod(5.5,2)
SELECT 3 = 3.0
-- differs: the position is not known
SELECT 1 = true
SELECT 'NaN'::float8 / 0
SELECT x * 10 FROM (VALUES ('Infinity'::float8), (1e308)) v(x)
