-- Leases up to `_count` queued jobs for a worker: of the line that is first by `queue_key` the oldest job that is due.
-- All replicas together give a worker no more than it has slots; a lease that is not renewed does not count for long.
-- Owners who have as many jobs running as they may are passed over. `_routing` says what was weighed for the worker.
CREATE OR REPLACE FUNCTION lease_jobs(
    _worker_type text, _worker text, _worker_id text, _offers text[], _count integer, _slots integer, _lease interval,
    _ageing double precision, _routing text DEFAULT NULL
) RETURNS SETOF jobs LANGUAGE plpgsql AS $$
DECLARE
    line record;
    next_id text;
    taken jobs;
    passed_owners text[];
    passed_priorities integer[];
    lifted_owners text[] := '{}';
    lifted_priorities integer[] := '{}';
    lifted_vtimes double precision[] := '{}';
    starts boolean;
    held text[] := '{}';
BEGIN
    PERFORM FROM clocks WHERE worker_type = _worker_type FOR UPDATE;
    SELECT least(_count, _slots - count(*)) INTO _count FROM jobs
    WHERE worker = _worker AND lease_expires > clock_timestamp() + _lease - interval '4 seconds';
    <<leasing>>
    FOR number IN 1 .. _count LOOP
        next_id := NULL;
        passed_owners := '{}';
        passed_priorities := '{}';
        FOR line IN
            -- What fits is looked for here, line by line and without a lock: thousands may have nothing for this worker, and
            -- a statement for each of them would keep the clock for a second. A lateral join keeps their order.
            SELECT lines.*, due.fits FROM (
                SELECT * FROM waiting_lines(_worker_type, _offers, _ageing)
                ORDER BY queue_key(level, vtime, served IS NULL, head), owner
            ) AS lines LEFT JOIN LATERAL (
                SELECT true AS fits FROM jobs
                WHERE owner = lines.owner AND worker_type = _worker_type AND priority = lines.priority
                AND status = 'queued' AND NOT interactive AND needs <@ _offers
                AND not_before <= clock_timestamp() AND deadline > clock_timestamp() LIMIT 1
            ) AS due ON true
        LOOP
            starts := line.fits AND may_start(line.owner, _worker_type, line.priority);
            IF starts AND line.owner <> ALL(held) THEN
                -- Another type's workers may lease for this owner now. Who holds none of these locks may wait for one;
                -- who holds one must not, or two would wait for each other: what is taken so far is given.
                IF cardinality(held) = 0 THEN
                    PERFORM pg_advisory_xact_lock(3, hashtext(line.owner));
                ELSIF NOT pg_try_advisory_xact_lock(3, hashtext(line.owner)) THEN
                    EXIT leasing;
                END IF;
                held := held || line.owner;
                starts := may_start(line.owner, _worker_type, line.priority);
            END IF;
            IF starts THEN
                SELECT id INTO next_id FROM jobs
                WHERE owner = line.owner AND worker_type = _worker_type AND priority = line.priority
                AND status = 'queued' AND NOT interactive AND needs <@ _offers
                AND not_before <= clock_timestamp() AND deadline > clock_timestamp()
                ORDER BY created, id LIMIT 1 FOR UPDATE SKIP LOCKED;
                EXIT WHEN FOUND;
            END IF;
            passed_owners := passed_owners || line.owner;
            passed_priorities := passed_priorities || line.priority;
        END LOOP;
        EXIT WHEN next_id IS NULL;
        UPDATE jobs SET status = 'leased', attempt = attempt + 1, lease_expires = clock_timestamp() + _lease,
            worker = _worker, worker_id = _worker_id
        WHERE id = next_id RETURNING * INTO taken;
        lifted_owners := lifted_owners || passed_owners;
        lifted_priorities := lifted_priorities || passed_priorities;
        lifted_vtimes := lifted_vtimes || array_fill(line.vtime, ARRAY[cardinality(passed_owners)]);
        INSERT INTO attempts (job_id, number, worker_id, routing)
            VALUES (taken.id, taken.attempt, _worker_id, _routing);
        UPDATE clocks SET vtime = greatest(vtime, line.vtime) WHERE worker_type = _worker_type;
        UPDATE shares SET vtime = vtime + taken.cost,
            served = CASE priority WHEN line.priority THEN clock_timestamp() ELSE served END
        WHERE owner = taken.owner AND worker_type = _worker_type;
        RETURN NEXT taken;
    END LOOP;
    -- Those with nothing for this worker gain nothing by being passed over. Their locks are taken in no order, so they come
    -- last: while they are held nothing is waited for.
    UPDATE shares SET vtime = lifted.vtime FROM (
        SELECT owner, priority, passed.vtime FROM shares JOIN (
            SELECT owner, priority, max(vtime) AS vtime
            FROM unnest(lifted_owners, lifted_priorities, lifted_vtimes) AS each(owner, priority, vtime) GROUP BY 1, 2
        ) AS passed USING (owner, priority)
        WHERE worker_type = _worker_type AND shares.vtime < passed.vtime FOR UPDATE OF shares SKIP LOCKED
    ) AS lifted
    WHERE worker_type = _worker_type AND shares.owner = lifted.owner AND shares.priority = lifted.priority;
END $$;
