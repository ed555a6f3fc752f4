-- What every end of a job has: the end of its attempt, which is charged for what it took, its last event, its settlement
-- and its callback.
CREATE OR REPLACE FUNCTION close_job(_job jobs, _error bytea, _reason integer, _event bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
BEGIN
    UPDATE attempts SET ended = now(), error = _error, reason = _reason
    WHERE job_id = _job.id AND number = _job.attempt AND ended IS NULL RETURNING started INTO begun;
    IF FOUND AND _job.status <> 'completed' AND NOT _job.interactive THEN  -- what completed is corrected with what it teaches
        PERFORM FROM shares WHERE owner = _job.owner AND worker_type = _job.worker_type ORDER BY priority FOR UPDATE;
        UPDATE shares SET vtime = vtime + extract(epoch FROM clock_timestamp() - begun) - _job.cost
        WHERE owner = _job.owner AND worker_type = _job.worker_type;
    END IF;
    UPDATE jobs SET last_sequence = last_sequence + 1 WHERE id = _job.id;
    INSERT INTO events (job_id, sequence, event) VALUES (_job.id, _job.last_sequence + 1, _event);
    INSERT INTO ledger (job_id, kind, owner, credits) VALUES
        (_job.id, 'settle', _job.owner, CASE _job.status WHEN 'completed' THEN 0 ELSE -_job.credits END);
    IF _job.webhook_url IS NOT NULL THEN
        INSERT INTO outbox (job_id, number, owner, host, status)
            VALUES (_job.id, 2, _job.owner, host_of(_job.webhook_url), _job.status);
    END IF;
END $$;
