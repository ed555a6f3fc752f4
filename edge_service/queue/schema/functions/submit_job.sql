-- Stores a job and returns it, or the one that its idempotency key already stands for. Raises ATF01 (detail: limit,
-- size and use) for a full queue, ATQ01 for a quota that is used up and ATI01 for a key that stands for another request;
-- then nothing is stored, nor counted.
CREATE OR REPLACE FUNCTION submit_job(
    _id text, _owner text, _type text, _worker_type text, _interactive boolean, _plan bytea, _decisions bytea,
    _seconds double precision, _priority integer, _kind text, _cost double precision, _spread double precision,
    _samples integer, _needs text[], _credits integer, _webhook_url text, _webhook_on_start boolean, _retry_of text,
    _key text, _request bytea, _event bytea, _most_of_user integer, _most_of_type integer, _most_of_all integer,
    _quotas quotas
) RETURNS SETOF jobs LANGUAGE plpgsql AS $$
DECLARE
    kept idempotency;
    start double precision;
    used bigint;
    used_by_type bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(1, hashtext(_owner));  -- one submission of an owner at a time: its counts are exact
    IF _key <> '' THEN
        SELECT * INTO kept FROM idempotency
        WHERE owner = _owner AND key = _key AND created > now() - interval '24 hours';
        IF FOUND AND kept.request <> _request THEN
            RAISE EXCEPTION 'idempotency key in use' USING ERRCODE = 'ATI01';
        END IF;
        IF FOUND THEN
            RETURN QUERY SELECT * FROM jobs WHERE id = kept.job_id;
            RETURN;
        END IF;
        INSERT INTO idempotency (owner, key, request, job_id) VALUES (_owner, _key, _request, _id)
        ON CONFLICT (owner, key) DO UPDATE SET request = _request, job_id = _id, created = now();
    END IF;
    PERFORM check_quotas(_owner, _credits, _quotas);
    IF _interactive THEN
        SELECT count(*) INTO used FROM jobs WHERE owner = _owner AND interactive AND ended IS NULL;
        IF used >= _most_of_user THEN
            RAISE EXCEPTION 'queue full' USING ERRCODE = 'ATF01', DETAIL = format('turns %s %s', _most_of_user, used);
        END IF;
    ELSE
        SELECT count(*), count(*) FILTER (WHERE type = _type) INTO used, used_by_type FROM jobs
        WHERE owner = _owner AND status = 'queued' AND NOT interactive;
        IF used >= _most_of_user THEN
            RAISE EXCEPTION 'queue full' USING ERRCODE = 'ATF01', DETAIL = format('user %s %s', _most_of_user, used);
        ELSIF used_by_type >= _most_of_type THEN
            RAISE EXCEPTION 'queue full' USING ERRCODE = 'ATF01', DETAIL = format('type %s %s', _most_of_type, used_by_type);
        END IF;
        SELECT coalesce(sum(queued), 0) INTO used FROM shares WHERE worker_type = _worker_type;
        IF used >= _most_of_all - 200 THEN  -- near the limit one at a time, so that it is exact; far from it all at once
            PERFORM pg_advisory_xact_lock(2, hashtext(_worker_type));
            SELECT coalesce(sum(queued), 0) INTO used FROM shares WHERE worker_type = _worker_type;
        END IF;
        IF used >= _most_of_all THEN
            RAISE EXCEPTION 'queue full' USING ERRCODE = 'ATF01', DETAIL = format('all %s %s', _most_of_all, used);
        END IF;
        SELECT greatest(
            (SELECT max(vtime) FROM shares WHERE owner = _owner AND worker_type = _worker_type),
            coalesce(
                (SELECT min(vtime) FROM shares WHERE worker_type = _worker_type AND priority = _priority AND queued > 0),
                (SELECT vtime FROM clocks WHERE worker_type = _worker_type))
        ) INTO start;
        INSERT INTO shares AS kept_line (owner, worker_type, priority, queued, head, vtime, most_running)
            VALUES (_owner, _worker_type, _priority, 1, now(), start, _quotas.max_running)
        ON CONFLICT (owner, worker_type, priority) DO UPDATE SET queued = kept_line.queued + 1,
            most_running = excluded.most_running,
            head = CASE kept_line.queued WHEN 0 THEN excluded.head ELSE kept_line.head END,
            served = CASE kept_line.queued WHEN 0 THEN NULL ELSE kept_line.served END,
            vtime = CASE kept_line.queued WHEN 0 THEN greatest(kept_line.vtime, excluded.vtime) ELSE kept_line.vtime END;
    END IF;
    INSERT INTO ledger (job_id, kind, owner, credits) VALUES (_id, 'reserve', _owner, _credits);
    RETURN QUERY INSERT INTO jobs (
        id, owner, type, worker_type, interactive, status, plan, decisions, deadline, priority, kind, cost, spread, samples,
        needs, credits, webhook_url, webhook_on_start, retry_of, last_sequence
    ) VALUES (
        _id, _owner, _type, _worker_type, _interactive, 'queued', _plan, _decisions, now() + _seconds * interval '1 second',
        _priority, _kind, _cost, _spread, _samples, _needs, _credits, _webhook_url, _webhook_on_start, _retry_of, 1
    ) RETURNING *;
    INSERT INTO events (job_id, sequence, event) VALUES (_id, 1, _event);
    -- Last: the end of a job locks this row too, and holds the job's line while it does.
    PERFORM count_use(_owner, CASE WHEN _quotas.requests_per_minute IS NULL THEN 0 ELSE 1 END, 1, _credits);
END $$;
