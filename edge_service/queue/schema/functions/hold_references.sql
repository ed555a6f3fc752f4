-- Makes sure that the pictures of a job that is being stored are there and stay, in the statement that stores it.
-- Raises ATR01 where one has gone; a job that was stored before keeps what it was given.
CREATE OR REPLACE FUNCTION hold_references(_job text, _owner text, _keys text[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    held integer;
BEGIN
    IF EXISTS (SELECT FROM job_references WHERE job_id = _job) THEN
        RETURN false;
    END IF;
    UPDATE assets SET used = now() WHERE key = ANY(_keys) AND owner = _owner AND deleted IS NULL;
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held < cardinality(_keys) THEN
        RAISE EXCEPTION 'a reference has gone' USING ERRCODE = 'ATR01';
    END IF;
    INSERT INTO job_references (job_id, key) SELECT _job, unnest(_keys);
    RETURN true;
END $$;
