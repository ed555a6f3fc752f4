-- Gives a running attempt's job back to its line. One that does not count leaves no trace. False if the lease is lost.
CREATE OR REPLACE FUNCTION requeue_job(
    _id text, _attempt integer, _error bytea, _reason integer, _delay double precision, _counts boolean, _event bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
BEGIN
    UPDATE jobs SET status = 'queued', lease_expires = NULL, not_before = now() + _delay * interval '1 second',
        last_sequence = last_sequence + 1
    WHERE id = _id AND attempt = _attempt AND status IN ('leased', 'processing') RETURNING * INTO job;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO events (job_id, sequence, event) VALUES (_id, job.last_sequence, _event);
    UPDATE shares SET vtime = vtime - job.cost WHERE owner = job.owner AND worker_type = job.worker_type;
    IF _counts THEN
        UPDATE attempts SET ended = now(), error = _error, reason = _reason WHERE job_id = _id AND number = _attempt;
    ELSE
        DELETE FROM attempts WHERE job_id = _id AND number = _attempt;
    END IF;
    RETURN true;
END $$;
