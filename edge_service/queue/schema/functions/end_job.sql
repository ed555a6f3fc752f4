-- Ends a running attempt and its job, with the events that were not yet stored and its assets. False if the lease is
-- lost; true if this very attempt has ended the job so already: its commit was done, and the answer to it lost.
CREATE OR REPLACE FUNCTION end_job(
    _id text, _attempt integer, _status text, _callback bytea, _error bytea, _reason integer, _after bigint,
    _events bytea[], _started bytea, _event bytea, _keys text[], _types text[], _mime_types text[], _bytes bigint[], _sha256s text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
BEGIN
    IF _status = 'completed' OR cardinality(_events) > 0 THEN
        PERFORM record_events(_id, _attempt, _after, _events, _started);
    END IF;
    UPDATE jobs SET status = _status, ended = now(), lease_expires = NULL, callback = _callback, error = _error
    WHERE id = _id AND attempt = _attempt AND status IN ('leased', 'processing') RETURNING * INTO job;
    IF NOT FOUND THEN
        RETURN EXISTS (SELECT FROM jobs WHERE id = _id AND attempt = _attempt AND status = _status);
    END IF;
    INSERT INTO assets (key, job_id, owner, type, mime_type, bytes, sha256)
        SELECT key, _id, job.owner, type, mime_type, bytes, sha256
        FROM unnest(_keys, _types, _mime_types, _bytes, _sha256s) AS made(key, type, mime_type, bytes, sha256);
    PERFORM close_job(job, _error, _reason, _event);
    RETURN true;
END $$;
