-- A module is a WebAssembly component (or a core module that carries its component type). The server reads
-- the signatures from it; every exported function becomes module.function. Its source is in module/.
--   flight.great_circle_km(lat1, lon1, lat2, lon2 double precision) → double precision
--   flight.delay_class(minutes double precision) → text            -- sees NULL
--   flight.parse_tail_number(text text) → text
\set wasm `base64 -w0 module/flights.wasm`
CREATE MODULE IF NOT EXISTS flight FROM BASE64 :'wasm';
