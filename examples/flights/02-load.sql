-- The data. \copy reads files on psql's side and sends them with COPY … FROM STDIN; NA is NULL.
-- A COPY is one transaction: durable and visible as a whole when psql prints its row count.

\copy airlines FROM 'data/airlines.csv' WITH (FORMAT csv, HEADER, NULL 'NA')
\copy airports FROM 'data/airports.csv' WITH (FORMAT csv, HEADER, NULL 'NA')
\copy planes   FROM 'data/planes.csv'   WITH (FORMAT csv, HEADER, NULL 'NA')
\copy weather  FROM 'data/weather-2013-01-01_14.csv' WITH (FORMAT csv, HEADER, NULL 'NA')
\copy flights  FROM 'data/flights-2013-01-01_14.csv' WITH (FORMAT csv, HEADER, NULL 'NA')
