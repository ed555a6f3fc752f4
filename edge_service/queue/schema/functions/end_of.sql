-- When a 'minute', 'day' or 'month' that has begun ends.
CREATE OR REPLACE FUNCTION end_of(_period text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT (date_trunc(_period, now() AT TIME ZONE 'UTC') + ('1 ' || _period)::interval) AT TIME ZONE 'UTC'
$$;
