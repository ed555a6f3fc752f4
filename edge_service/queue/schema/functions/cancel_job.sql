-- Ends an open job for its owner, and says whether a worker may have it. Null if it had ended already or is not theirs.
CREATE OR REPLACE FUNCTION cancel_job(_id text, _owner text, _error bytea, _reason integer, _event bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
    ran boolean;
BEGIN
    SELECT status <> 'queued' INTO ran FROM jobs
    WHERE id = _id AND owner = _owner AND status IN ('queued', 'leased', 'processing') FOR UPDATE;
    IF FOUND THEN
        UPDATE jobs SET status = 'cancelled', ended = now(), lease_expires = NULL, error = _error
        WHERE id = _id RETURNING * INTO job;
        PERFORM close_job(job, _error, _reason, _event);
    END IF;
    RETURN ran;
END $$;
