SELECT substring('hello' from 2 for 3)
SELECT substr('hello', -1, 3)
SELECT left('hello', -2)
SELECT right('hello', -2)
SELECT position('l' in 'hello')
SELECT strpos('hello','z')
SELECT repeat('ab', 3)
SELECT reverse('abc')
SELECT initcap('hello world')
SELECT split_part('a,b,c', ',', 2)
SELECT split_part('a,b,c', ',', -1)
SELECT split_part('a,b,c', ',', 0)
SELECT concat('a', null, 'b', 1)
SELECT concat_ws(',', 'a', null, 'b')
SELECT 'a' || null
SELECT 'a' || 1
SELECT length('héllo')
SELECT char_length('héllo')
SELECT octet_length('héllo')
SELECT bit_length('a')
-- upper follows Unicode
-- differs: (upper text) | STRASSE
SELECT upper('straße')
SELECT lower('ÀB')
SELECT 'a' < 'B'
SELECT 'abc' like 'a%'
SELECT 'abc' ilike 'A_C'
SELECT 'abc' ~ '^a'
SELECT 'abc' !~* 'B'
SELECT 'a%c' like 'a\%c'
SELECT regexp_replace('foobarbaz', 'b..', 'X')
SELECT regexp_replace('foobarbaz', 'b..', 'X', 'g')
SELECT 'abc' similar to 'a(b|c)%'
SELECT '5' + 1
SELECT 5 || 'a'
SELECT chr(65)
SELECT ascii('A')
SELECT translate('abc','ab','xy')
SELECT to_hex(255)
SELECT overlay('abcdef' placing 'X' from 2 for 3)
SELECT format('%s-%s', 1, 'a')
SELECT quote_literal('a''b')
SELECT quote_ident('A b')
SELECT starts_with('abc','ab')
SELECT 'abc' ^@ 'ab'
-- no json
-- differs: 42883 at 8
SELECT json_build_object('a',1)
SELECT 'a.c' SIMILAR TO 'a\.c'
SELECT '-' SIMILAR TO '[a-]'
SELECT trim(trailing from 'a  '), trim(leading 'x' from 'xxa'), trim(both from ' a '), trim(' a '), trim('x' from 'xax')
SELECT '10%' LIKE '10!%' ESCAPE '!', '100' LIKE '10!%' ESCAPE '!', 'a_b' LIKE 'a#_b' ESCAPE '#', 'a\b' LIKE 'a\b' ESCAPE '', 'A%' ILIKE 'a!%' ESCAPE '!', 'a\b' NOT LIKE 'a!\b' ESCAPE '!'
-- no position
SELECT 'a' LIKE 'a' ESCAPE 'xx'
SELECT regexp_replace('abc', 'b', '$0'), regexp_replace('abc', 'b', '[\&]'), regexp_replace('abc', '(b)(c)', '\2\1'), regexp_replace('a$b', '\$', '$1')
SELECT length(gen_random_uuid()::text)
SELECT encode('\xde'::bytea, 'base64'), encode('\xdeadbe'::bytea, 'BASE64'), encode('\xde'::bytea, 'hex'), decode('3g==', 'base64')
