-- Uploads: pictures that an owner sent, or that were fetched for one, as assets that no job made.

ALTER TABLE assets
    ALTER COLUMN job_id DROP NOT NULL,
    ADD COLUMN source_sha256 text,           -- of what was sent: the same bytes are stored once for an owner
    ADD COLUMN width         integer,        -- pixels, of an upload
    ADD COLUMN height        integer,
    ADD COLUMN used          timestamptz;    -- when a job last named it as a reference: its age counts from then
CREATE INDEX assets_of_source ON assets (owner, source_sha256) WHERE source_sha256 IS NOT NULL;
DROP INDEX assets_age;
CREATE INDEX assets_age ON assets (greatest(created, used)) WHERE deleted IS NULL;

-- Which pictures a job was given. An owner deletes none of an open job.
CREATE TABLE job_references (
    job_id text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    key    text NOT NULL,
    PRIMARY KEY (job_id, key)
);
CREATE INDEX job_references_by_key ON job_references (key);

-- Makes sure that the pictures of a job that is being stored are there and stay, in the statement that stores it.
-- Raises ATR01 where one has gone; a job that was stored before keeps what it was given.
CREATE FUNCTION hold_references(_job text, _owner text, _keys text[]) RETURNS boolean LANGUAGE plpgsql AS $$
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

-- Hides an asset for its owner and returns ''; or returns the open job that needs it, or null if there is no such asset.
-- Under the lock that submissions of the owner take: none can name it meanwhile.
CREATE FUNCTION delete_asset(_key text, _owner text) RETURNS text LANGUAGE plpgsql AS $$
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
