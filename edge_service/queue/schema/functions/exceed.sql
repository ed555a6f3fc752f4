-- Raises ATQ01 (detail: limit, size, use, when it is forgotten and in how many seconds).
CREATE OR REPLACE FUNCTION exceed(_limit text, _size bigint, _used bigint, _period text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'quota used up' USING ERRCODE = 'ATQ01', DETAIL = format('%s %s %s %s %s', _limit, _size, _used,
        to_char(end_of(_period) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        extract(epoch FROM end_of(_period) - now()));
END $$;
