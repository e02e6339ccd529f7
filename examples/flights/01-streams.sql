-- The shape of the data. Run from this directory:
--   psql -h 127.0.0.1 -p 7432 -U millpond millpond -f 01-streams.sql

-- A stream only grows: every row gets an offset in its partition and is never changed.
-- One row per scheduled departure from a New York airport. A cancelled flight has no dep_time, and its
-- delays are NULL. Clock readings are numbers as people write them: 517 is 5:17.
CREATE STREAM IF NOT EXISTS flights (
    year           int,
    month          int,
    day            int,
    dep_time       int,
    sched_dep_time int,
    dep_delay      double precision,   -- minutes, negative = early
    arr_time       int,
    sched_arr_time int,
    arr_delay      double precision,
    carrier        text,
    flight         int,
    tailnum        text,
    origin         text,
    dest           text,
    air_time       double precision,   -- minutes
    distance       double precision,   -- miles
    hour           int,
    minute         int,
    time_hour      timestamptz         -- scheduled departure, cut to the hour
);

-- Hourly readings at the three airports.
CREATE STREAM IF NOT EXISTS weather (
    origin     text,
    year       int,
    month      int,
    day        int,
    hour       int,
    temp       double precision,       -- Fahrenheit
    dewp       double precision,
    humid      double precision,
    wind_dir   double precision,
    wind_speed double precision,       -- miles per hour
    wind_gust  double precision,
    precip     double precision,       -- inches
    pressure   double precision,       -- millibars
    visib      double precision,       -- miles
    time_hour  timestamptz
);

-- A table is keyed: its rows can be updated and deleted, and every view over it follows.
CREATE TABLE IF NOT EXISTS airlines (
    carrier text PRIMARY KEY,
    name    text NOT NULL
);

CREATE TABLE IF NOT EXISTS airports (
    faa   text PRIMARY KEY,
    name  text,
    lat   double precision,
    lon   double precision,
    alt   double precision,            -- feet
    tz    double precision,            -- hours from UTC
    dst   text,
    tzone text
);

CREATE TABLE IF NOT EXISTS planes (
    tailnum      text PRIMARY KEY,
    year         int,
    type         text,
    manufacturer text,
    model        text,
    engines      int,
    seats        int,
    speed        int,
    engine       text
);
