-- Leases one interactive job, whatever waits, if its worker has a slot. `_routing` says what was weighed for that worker.
CREATE OR REPLACE FUNCTION lease_job(
    _id text, _worker_type text, _worker text, _worker_id text, _slots integer, _lease interval,
    _routing text DEFAULT NULL
) RETURNS SETOF jobs LANGUAGE plpgsql AS $$
DECLARE
    taken jobs;
BEGIN
    PERFORM FROM clocks WHERE worker_type = _worker_type FOR UPDATE;
    UPDATE jobs SET status = 'leased', attempt = attempt + 1, lease_expires = clock_timestamp() + _lease,
        worker = _worker, worker_id = _worker_id
    WHERE id = _id AND status = 'queued' AND interactive AND _slots > (
        SELECT count(*) FROM jobs
        WHERE worker = _worker AND lease_expires > clock_timestamp() + _lease - interval '4 seconds'
    ) RETURNING * INTO taken;
    IF FOUND THEN
        INSERT INTO attempts (job_id, number, worker_id, routing) VALUES (taken.id, taken.attempt, _worker_id, _routing);
        RETURN NEXT taken;
    END IF;
END $$;
