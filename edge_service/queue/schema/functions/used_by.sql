-- What an owner has used of each limit that counts over time, and of storage.
CREATE OR REPLACE FUNCTION used_by(_owner text, _period text)
RETURNS TABLE (requests integer, jobs integer, credits bigint, bytes bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(requests) FILTER (WHERE minute >= date_trunc('minute', now())), 0),
        coalesce(max(jobs) FILTER (WHERE day = today), 0),
        coalesce(sum(credits), 0)::bigint,
        coalesce((SELECT bytes FROM storage WHERE owner = _owner), 0)
    FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock LEFT JOIN usage
        ON owner = _owner AND day BETWEEN date_trunc(_period, now() AT TIME ZONE 'UTC')::date AND today
$$;
