-- Appends events of a running attempt and returns the job's last sequence number; the first of them says that a worker has
-- it: `_started` goes before it. Null if the lease is lost. `_after` is the last sequence number that this attempt knows:
-- if there are more, this very call was done before and the answer to it lost.
CREATE OR REPLACE FUNCTION record_events(_id text, _attempt integer, _after bigint, _events bytea[], _started bytea) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
BEGIN
    SELECT * INTO job FROM jobs WHERE id = _id AND attempt = _attempt AND status IN ('leased', 'processing') FOR UPDATE;
    IF NOT FOUND OR job.last_sequence > _after THEN
        RETURN job.last_sequence;
    END IF;
    IF job.status = 'leased' THEN
        _events := _started || _events;
        IF job.webhook_on_start AND job.started IS NULL THEN
            INSERT INTO outbox (job_id, number, owner, host, status)
                VALUES (_id, 1, job.owner, host_of(job.webhook_url), 'processing');
        END IF;
    END IF;
    UPDATE jobs SET status = 'processing', started = coalesce(started, now()),
        last_sequence = last_sequence + cardinality(_events) WHERE id = _id;
    INSERT INTO events (job_id, sequence, event)
        SELECT _id, job.last_sequence + place, event FROM unnest(_events) WITH ORDINALITY AS new(event, place);
    RETURN job.last_sequence + cardinality(_events);
END $$;
