-- Ends one queued job whose deadline has passed, or an interactive one whose caller left before it began; returns its
-- id, or null if there is none. In the order of an index: without it all jobs that ever ended would be read for one.
CREATE OR REPLACE FUNCTION expire_job(_error bytea, _reason integer, _event bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
BEGIN
    UPDATE jobs SET status = 'expired', ended = now(), error = _error WHERE id = coalesce((
        SELECT id FROM jobs WHERE status = 'queued' AND deadline <= now()
        ORDER BY deadline LIMIT 1 FOR UPDATE SKIP LOCKED
    ), (
        SELECT id FROM jobs WHERE status = 'queued' AND interactive AND created < now() - interval '30 seconds'
        ORDER BY created LIMIT 1 FOR UPDATE SKIP LOCKED
    )) RETURNING * INTO job;
    IF FOUND THEN
        PERFORM close_job(job, _error, _reason, _event);
    END IF;
    RETURN job.id;
END $$;
