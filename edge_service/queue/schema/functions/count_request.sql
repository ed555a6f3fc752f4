-- Counts a request that stores no job. Raises ATQ01 if there were too many in this minute.
CREATE OR REPLACE FUNCTION count_request(_owner text, _most integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1, hashtext(_owner));
    PERFORM check_quotas(_owner, 0, ROW(_most, NULL, NULL, NULL, 'day', NULL)::quotas);
    PERFORM count_use(_owner, 1, 0, 0);
END $$;
