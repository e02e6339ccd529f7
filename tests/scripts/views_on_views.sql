-- same in PostgreSQL
-- Views over views move in the same step as what they read.

CREATE STREAM bids (auction int, price int);
CREATE MATERIALIZED VIEW per_auction AS SELECT auction, count(*) AS n, max(price) AS top FROM bids GROUP BY auction;
CREATE MATERIALIZED VIEW hot AS SELECT auction, top FROM per_auction WHERE n >= 2;
CREATE MATERIALIZED VIEW summary AS SELECT count(*) AS auctions, sum(top) AS total FROM hot;
SELECT * FROM summary;
----
CREATE STREAM
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
CREATE MATERIALIZED VIEW
0|NULL

INSERT INTO bids VALUES (1, 10), (1, 20), (2, 5);
SELECT * FROM hot ORDER BY auction;
SELECT * FROM summary;
----
INSERT 0 3
1|20
1|20

INSERT INTO bids VALUES (2, 7), (1, 30);
SELECT h.auction, h.top, p.n, s.auctions, s.total FROM hot h JOIN per_auction p ON p.auction = h.auction CROSS JOIN summary s ORDER BY 1;
----
INSERT 0 2
1|30|3|2|37
2|7|2|2|37

-- Created over rows that are there already.
CREATE MATERIALIZED VIEW late AS SELECT sum(price) AS s FROM bids;
SELECT * FROM late;
----
CREATE MATERIALIZED VIEW
72

DROP MATERIALIZED VIEW hot;
DROP MATERIALIZED VIEW summary;
DROP MATERIALIZED VIEW hot;
SELECT * FROM hot;
----
ERROR:  2BP01
DROP MATERIALIZED VIEW
DROP MATERIALIZED VIEW
ERROR:  42P01

