-- The order of the queue: of the lines, or the jobs, before the workers of one type, that with the least key goes next. The
-- higher level first; then the one whose owner will have been given the least when it begins; of equals, a line that was
-- not served since its jobs came; then the oldest. `lease_jobs` takes lines in this order, `queue_order` foresees it.
CREATE OR REPLACE FUNCTION queue_key(_level double precision, _begin double precision, _fresh boolean, _since timestamptz)
RETURNS double precision[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY[-_level, _begin, CASE WHEN _fresh THEN 0 ELSE 1 END, date_part('epoch', _since)]
$$;
