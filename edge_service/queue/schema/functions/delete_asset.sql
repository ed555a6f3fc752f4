-- Hides an asset for its owner and returns ''; or returns the open job that needs it, or null if there is no such asset.
-- Under the lock that submissions of the owner take: none can name it meanwhile.
CREATE OR REPLACE FUNCTION delete_asset(_key text, _owner text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    needed_by text;
BEGIN
    PERFORM pg_advisory_xact_lock(1, hashtext(_owner));
    PERFORM FROM assets WHERE key = _key AND owner = _owner AND deleted IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT job_id INTO needed_by FROM job_references JOIN jobs ON jobs.id = job_id
    WHERE key = _key AND owner = _owner AND ended IS NULL LIMIT 1;
    IF FOUND THEN
        RETURN needed_by;
    END IF;
    UPDATE assets SET deleted = now() WHERE key = _key AND owner = _owner AND deleted IS NULL;
    RETURN '';
END $$;
