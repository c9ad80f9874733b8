select true as bool, 1::int2 as i2, 2::int4 as i4, 9007199254740993::int8 as i8, 0.5::float4 as f4, 1e300::float8 as f8,
  '-1234.50'::numeric(12, 2) as decimal, 'naïve' as text, '\x00ff'::bytea as bytes, date '2026-01-31' as date,
  time '23:59:59.999999' as time, timestamp '1969-12-31 23:59:59.999999' as stamp,
  timestamptz '2026-01-31 12:00:00.5+02' as instant, '{"a": [1]}'::jsonb as json, '{1,NULL,3}'::int4[] as list,
  null::int4 as nothing, n
from generate_series(1, 20000) as n
