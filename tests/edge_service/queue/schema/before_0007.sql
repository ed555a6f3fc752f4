-- A database with migrations 0001 to 0006, as pg_dump --inserts wrote it: functions were parts of migrations, which had no
-- checksums. It has a completed, a cancelled, a running, a waiting and a retried job, and what belongs to them.

SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;

CREATE TYPE public.quotas AS (
	requests_per_minute integer,
	max_running integer,
	jobs_per_day integer,
	credits_per_period bigint,
	period text,
	storage_bytes bigint
);

CREATE FUNCTION public.append_audit(_actor text, _action text, _subject text, _reason text, _digest text, _policy_version text, _most integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    already bigint;
BEGIN
    SELECT count(*) INTO already FROM audit WHERE actor = _actor AND time > now() - interval '1 hour';
    IF already < _most THEN
        INSERT INTO audit (actor, action, subject, reason, digest, policy_version)
            VALUES (_actor, _action, _subject, _reason, _digest, _policy_version);
    ELSIF already = _most THEN
        INSERT INTO audit (actor, action, subject) VALUES (_actor, 'audit.full', 'more within this hour is not kept');
    END IF;
END $$;

CREATE FUNCTION public.cancel_job(_id text, _owner text, _error bytea, _reason integer, _event bytea) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.check_quotas(_owner text, _credits integer, _quotas public.quotas) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    used record;
BEGIN
    SELECT * INTO used FROM used_by(_owner, _quotas.period);
    IF used.requests >= _quotas.requests_per_minute THEN
        PERFORM exceed('requests_per_minute', _quotas.requests_per_minute, used.requests, 'minute');
    ELSIF used.jobs >= _quotas.jobs_per_day THEN
        PERFORM exceed('jobs_per_day', _quotas.jobs_per_day, used.jobs, 'day');
    ELSIF used.credits + _credits > _quotas.credits_per_period THEN
        PERFORM exceed('credits', _quotas.credits_per_period, used.credits, _quotas.period);
    ELSIF used.bytes >= _quotas.storage_bytes THEN
        PERFORM exceed('storage_bytes', _quotas.storage_bytes, used.bytes, NULL);
    END IF;
END $$;

CREATE TABLE public.jobs (
    id text NOT NULL,
    owner text NOT NULL,
    type text NOT NULL,
    worker_type text NOT NULL,
    interactive boolean NOT NULL,
    status text NOT NULL,
    plan bytea NOT NULL,
    decisions bytea NOT NULL,
    callback bytea,
    error bytea,
    created timestamp with time zone DEFAULT now() NOT NULL,
    started timestamp with time zone,
    ended timestamp with time zone,
    deadline timestamp with time zone NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    lease_expires timestamp with time zone,
    last_sequence bigint DEFAULT 0 NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    kind text DEFAULT ''::text NOT NULL,
    cost double precision DEFAULT 1 NOT NULL,
    spread double precision DEFAULT 1 NOT NULL,
    samples integer DEFAULT 0 NOT NULL,
    needs text[] DEFAULT '{}'::text[] NOT NULL,
    credits integer DEFAULT 0 NOT NULL,
    worker text,
    worker_id text,
    webhook_url text,
    webhook_on_start boolean DEFAULT false NOT NULL,
    retry_of text,
    tidy boolean DEFAULT false NOT NULL,
    CONSTRAINT jobs_check CHECK (((status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text, 'expired'::text])) = (ended IS NOT NULL))),
    CONSTRAINT jobs_check1 CHECK (((status = ANY (ARRAY['leased'::text, 'processing'::text])) = (lease_expires IS NOT NULL))),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'leased'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'cancelled'::text, 'expired'::text])))
)
WITH (fillfactor='70');

CREATE FUNCTION public.close_job(_job public.jobs, _error bytea, _reason integer, _event bytea) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.correct_shares(_worker_types text[], _owners text[], _seconds double precision[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM clocks WHERE worker_type = ANY(_worker_types) ORDER BY worker_type FOR UPDATE;
    PERFORM FROM shares JOIN unnest(_worker_types, _owners) AS due(worker_type, owner) USING (worker_type, owner)
    ORDER BY owner, worker_type, priority FOR UPDATE OF shares;
    UPDATE shares SET vtime = vtime + due.seconds
    FROM unnest(_worker_types, _owners, _seconds) AS due(worker_type, owner, seconds)
    WHERE shares.worker_type = due.worker_type AND shares.owner = due.owner;
END $$;

CREATE FUNCTION public.count_queued() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Whoever changes one line of an owner may go on to all of them: all take them in this order, or they would deadlock.
    PERFORM FROM shares WHERE owner = NEW.owner AND worker_type = NEW.worker_type ORDER BY priority FOR UPDATE;
    IF NEW.status = 'queued' THEN
        UPDATE shares SET queued = queued + 1, head = least(head, NEW.created)
        WHERE owner = NEW.owner AND worker_type = NEW.worker_type AND priority = NEW.priority;
    ELSE
        UPDATE shares SET queued = queued - 1, head = (
            SELECT min(created) FROM jobs WHERE owner = NEW.owner AND worker_type = NEW.worker_type
            AND priority = NEW.priority AND status = 'queued' AND NOT interactive)
        WHERE owner = NEW.owner AND worker_type = NEW.worker_type AND priority = NEW.priority;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.count_request(_owner text, _most integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1, hashtext(_owner));
    PERFORM check_quotas(_owner, 0, ROW(_most, NULL, NULL, NULL, 'day', NULL)::quotas);
    PERFORM count_use(_owner, 1, 0, 0);
END $$;

CREATE FUNCTION public.count_storage() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted IS NULL THEN
        UPDATE storage SET bytes = bytes - OLD.bytes WHERE owner = OLD.owner;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted IS NULL THEN
        INSERT INTO storage AS kept VALUES (NEW.owner, NEW.bytes)
        ON CONFLICT (owner) DO UPDATE SET bytes = kept.bytes + excluded.bytes;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.count_use(_owner text, _requests integer, _jobs integer, _credits integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO usage AS kept (owner, day, minute, requests, jobs, credits)
        VALUES (_owner, (now() AT TIME ZONE 'UTC')::date, date_trunc('minute', now()), _requests, _jobs, _credits)
    ON CONFLICT (owner, day) DO UPDATE SET jobs = kept.jobs + excluded.jobs, credits = kept.credits + excluded.credits,
        requests = CASE WHEN kept.minute < excluded.minute THEN 0 ELSE kept.requests END + excluded.requests,
        minute = greatest(kept.minute, excluded.minute);
END $$;

CREATE FUNCTION public.delete_asset(_key text, _owner text) RETURNS text
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.end_job(_id text, _attempt integer, _status text, _callback bytea, _error bytea, _reason integer, _after bigint, _events bytea[], _started bytea, _event bytea, _keys text[], _types text[], _mime_types text[], _bytes bigint[], _sha256s text[]) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.end_of(_period text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
    SELECT (date_trunc(_period, now() AT TIME ZONE 'UTC') + ('1 ' || _period)::interval) AT TIME ZONE 'UTC'
$$;

CREATE FUNCTION public.exceed(_limit text, _size bigint, _used bigint, _period text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'quota used up' USING ERRCODE = 'ATQ01', DETAIL = format('%s %s %s %s %s', _limit, _size, _used,
        to_char(end_of(_period) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        extract(epoch FROM end_of(_period) - now()));
END $$;

CREATE FUNCTION public.expire_job(_error bytea, _reason integer, _event bytea) RETURNS text
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.forget_shares(_most integer) RETURNS SETOF text
    LANGUAGE plpgsql
    AS $$
DECLARE
    idle shares[];
BEGIN
    SELECT array_agg(line) INTO idle FROM (
        SELECT shares AS line FROM shares JOIN clocks USING (worker_type)
        WHERE queued = 0 AND shares.vtime <= clocks.vtime AND NOT EXISTS (
            SELECT FROM jobs WHERE lease_expires IS NOT NULL
            AND owner = shares.owner AND worker_type = shares.worker_type)
        LIMIT _most FOR UPDATE OF shares SKIP LOCKED
    ) AS found;
    RETURN QUERY DELETE FROM shares USING clocks
        WHERE (shares.owner, shares.worker_type, shares.priority) IN (SELECT owner, worker_type, priority FROM unnest(idle))
        AND clocks.worker_type = shares.worker_type AND queued = 0 AND shares.vtime <= clocks.vtime AND NOT EXISTS (
            SELECT FROM jobs WHERE lease_expires IS NOT NULL
            AND owner = shares.owner AND worker_type = shares.worker_type)
        RETURNING shares.owner;
END $$;

CREATE FUNCTION public.hold_references(_job text, _owner text, _keys text[]) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.host_of(_url text) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT lower(substring(_url from '//(\[[^]]*\]|[^/?:]+)'))
$$;

CREATE FUNCTION public.lease_job(_id text, _worker_type text, _worker text, _worker_id text, _slots integer, _lease interval) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
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
        INSERT INTO attempts (job_id, number, worker_id) VALUES (taken.id, taken.attempt, _worker_id);
        RETURN NEXT taken;
    END IF;
END $$;

CREATE FUNCTION public.lease_jobs(_worker_type text, _worker text, _worker_id text, _offers text[], _count integer, _slots integer, _lease interval, _ageing double precision) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
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
                ORDER BY level DESC, vtime, served IS NOT NULL, head, owner
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
        INSERT INTO attempts (job_id, number, worker_id) VALUES (taken.id, taken.attempt, _worker_id);
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

CREATE FUNCTION public.may_start(_owner text, _worker_type text, _priority integer) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN (SELECT most_running IS NULL OR most_running > (
        SELECT count(*) FROM jobs WHERE owner = _owner AND lease_expires IS NOT NULL AND NOT interactive)
    FROM shares WHERE owner = _owner AND worker_type = _worker_type AND priority = _priority);
END $$;

CREATE FUNCTION public.record_events(_id text, _attempt integer, _after bigint, _events bytea[], _started bytea) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.refund() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE usage SET credits = credits + NEW.credits WHERE owner = NEW.owner AND day = (
        SELECT (time AT TIME ZONE 'UTC')::date FROM ledger WHERE job_id = NEW.job_id AND kind = 'reserve');
    RETURN NULL;
END $$;

CREATE FUNCTION public.refuse_change_of_audit() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION public.refuse_illegal_move() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF OLD.ended IS NOT NULL
       AND (OLD.status, OLD.ended, OLD.callback, OLD.error) IS DISTINCT FROM (NEW.status, NEW.ended, NEW.callback, NEW.error)
       OR OLD.status <> NEW.status AND NOT (CASE OLD.status
           WHEN 'queued' THEN NEW.status IN ('leased', 'cancelled', 'expired', 'failed')
           WHEN 'leased' THEN NEW.status IN ('processing', 'queued', 'cancelled', 'expired', 'failed')
           WHEN 'processing' THEN NEW.status IN ('queued', 'completed', 'cancelled', 'expired', 'failed')
           ELSE false END)
    THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION public.reprice_jobs(_worker_type text, _kinds text[], _costs double precision[], _spreads double precision[], _samples integer[], _factor double precision, _most integer) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    changed bigint;
    _ids text[];
BEGIN
    SELECT array_agg(id) INTO _ids FROM (
        SELECT id FROM jobs JOIN unnest(_kinds, _costs, _spreads) AS due(kind, cost, spread) USING (kind)
        WHERE worker_type = _worker_type AND status = 'queued' AND NOT interactive
        AND (jobs.cost NOT BETWEEN due.cost / _factor AND due.cost * _factor OR jobs.spread > due.spread * 2) LIMIT _most
    ) AS found;
    IF _ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM FROM clocks WHERE worker_type = _worker_type FOR UPDATE;
    UPDATE jobs SET cost = due.cost, spread = due.spread, samples = due.samples
    FROM unnest(_kinds, _costs, _spreads, _samples) AS due(kind, cost, spread, samples)
    WHERE jobs.id = ANY(_ids) AND jobs.kind = due.kind AND status = 'queued';
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END $$;

CREATE FUNCTION public.requeue_job(_id text, _attempt integer, _error bytea, _reason integer, _delay double precision, _counts boolean, _event bytea) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.submit_job(_id text, _owner text, _type text, _worker_type text, _interactive boolean, _plan bytea, _decisions bytea, _seconds double precision, _priority integer, _kind text, _cost double precision, _spread double precision, _samples integer, _needs text[], _credits integer, _webhook_url text, _webhook_on_start boolean, _retry_of text, _key text, _request bytea, _event bytea, _most_of_user integer, _most_of_type integer, _most_of_all integer, _quotas public.quotas) RETURNS SETOF public.jobs
    LANGUAGE plpgsql
    AS $$
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
    -- Last, for this row is also locked by whoever ends a job and holds its line.
    PERFORM count_use(_owner, CASE WHEN _quotas.requests_per_minute IS NULL THEN 0 ELSE 1 END, 1, _credits);
END $$;

CREATE FUNCTION public.take_over(_lease interval) RETURNS SETOF public.jobs
    LANGUAGE sql
    AS $$
    UPDATE jobs SET lease_expires = now() + _lease WHERE id = (
        SELECT id FROM jobs WHERE status IN ('leased', 'processing') AND lease_expires < now()
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
$$;

CREATE FUNCTION public.used_by(_owner text, _period text) RETURNS TABLE(requests integer, jobs integer, credits bigint, bytes bigint)
    LANGUAGE sql STABLE
    AS $$
    SELECT coalesce(max(requests) FILTER (WHERE minute >= date_trunc('minute', now())), 0),
        coalesce(max(jobs) FILTER (WHERE day = today), 0),
        coalesce(sum(credits), 0)::bigint,
        coalesce((SELECT bytes FROM storage WHERE owner = _owner), 0)
    FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock LEFT JOIN usage
        ON owner = _owner AND day BETWEEN date_trunc(_period, now() AT TIME ZONE 'UTC')::date AND today
$$;

CREATE FUNCTION public.waiting_lines(_worker_type text, _offers text[], _ageing double precision) RETURNS TABLE(owner text, priority integer, vtime double precision, served timestamp with time zone, head timestamp with time zone, level double precision)
    LANGUAGE sql STABLE
    AS $$
    SELECT owner, priority, vtime, served, head, least(
        priority + coalesce(floor(extract(epoch FROM now() - greatest(due.since, served)) / _ageing), 0),
        max(priority) OVER ())
    FROM shares LEFT JOIN LATERAL (
        SELECT greatest(created, not_before) AS since FROM jobs
        WHERE jobs.owner = shares.owner AND jobs.worker_type = _worker_type AND jobs.priority = shares.priority
        AND status = 'queued' AND NOT interactive AND (_offers IS NULL OR needs <@ _offers)
        AND not_before <= now() AND deadline > now()
        AND shares.head <= now() - _ageing * interval '1 second'  -- looked at first: most lines have no use for the rest
        ORDER BY created, id LIMIT 1
    ) AS due ON true
    WHERE worker_type = _worker_type AND queued > 0
$$;

CREATE TABLE public.api_keys (
    id text NOT NULL,
    digest bytea NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    tier text NOT NULL,
    scopes text[] NOT NULL,
    content_mode integer,
    maker text,
    created timestamp with time zone DEFAULT now() NOT NULL,
    expires timestamp with time zone NOT NULL,
    revoked timestamp with time zone,
    last_used timestamp with time zone
);

CREATE TABLE public.assets (
    key text NOT NULL,
    job_id text,
    owner text NOT NULL,
    type text NOT NULL,
    mime_type text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    deleted timestamp with time zone,
    source_sha256 text,
    width integer,
    height integer,
    used timestamp with time zone
);

CREATE TABLE public.attempts (
    job_id text NOT NULL,
    number integer NOT NULL,
    worker_id text NOT NULL,
    started timestamp with time zone DEFAULT now() NOT NULL,
    ended timestamp with time zone,
    error bytea,
    reason integer
);

CREATE TABLE public.audit (
    id bigint NOT NULL,
    "time" timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    digest text DEFAULT ''::text NOT NULL,
    policy_version text DEFAULT ''::text NOT NULL
);

ALTER TABLE public.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.clocks (
    worker_type text NOT NULL,
    vtime double precision NOT NULL
);

CREATE TABLE public.costs (
    worker_type text NOT NULL,
    kind text NOT NULL,
    worker_id text NOT NULL,
    samples double precision NOT NULL,
    log_mean double precision NOT NULL,
    log_m2 double precision NOT NULL,
    updated timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.events (
    job_id text NOT NULL,
    sequence bigint NOT NULL,
    "time" timestamp with time zone DEFAULT now() NOT NULL,
    event bytea NOT NULL
);

CREATE TABLE public.idempotency (
    owner text NOT NULL,
    key text NOT NULL,
    request bytea NOT NULL,
    job_id text NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.job_references (
    job_id text NOT NULL,
    key text NOT NULL
);

CREATE TABLE public.ledger (
    job_id text NOT NULL,
    kind text NOT NULL,
    owner text NOT NULL,
    credits integer NOT NULL,
    "time" timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ledger_kind_check CHECK ((kind = ANY (ARRAY['reserve'::text, 'settle'::text])))
);

CREATE TABLE public.migrations (
    name text NOT NULL,
    applied timestamp with time zone
);

CREATE TABLE public.outbox (
    job_id text NOT NULL,
    number integer NOT NULL,
    owner text NOT NULL,
    host text DEFAULT ''::text NOT NULL,
    status text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_try timestamp with time zone DEFAULT now() NOT NULL,
    error text,
    created timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT outbox_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'given_up'::text])))
);

CREATE TABLE public.secrets (
    name text NOT NULL,
    value bytea NOT NULL
);

CREATE TABLE public.shares (
    owner text NOT NULL,
    worker_type text NOT NULL,
    priority integer NOT NULL,
    queued integer NOT NULL,
    head timestamp with time zone,
    served timestamp with time zone,
    vtime double precision NOT NULL,
    most_running integer,
    CONSTRAINT shares_queued_check CHECK ((queued >= 0))
)
WITH (fillfactor='50');

CREATE TABLE public.storage (
    owner text NOT NULL,
    bytes bigint NOT NULL,
    CONSTRAINT storage_bytes_check CHECK ((bytes >= 0))
)
WITH (fillfactor='50');

CREATE TABLE public.usage (
    owner text NOT NULL,
    day date NOT NULL,
    jobs integer NOT NULL,
    credits bigint NOT NULL,
    minute timestamp with time zone NOT NULL,
    requests integer NOT NULL,
    CONSTRAINT usage_credits_check CHECK ((credits >= 0)),
    CONSTRAINT usage_jobs_check CHECK ((jobs >= 0)),
    CONSTRAINT usage_requests_check CHECK ((requests >= 0))
)
WITH (fillfactor='50');

INSERT INTO public.api_keys VALUES ('key1', '\x00', 'laptop', 'ann', 'premium', '{jobs.read,jobs.write}', NULL, NULL, '2026-11-30 22:24:30.888596+00', '2100-01-01 00:00:00+00', NULL, NULL);

INSERT INTO public.assets VALUES ('ann/sdxl_image_fast_1796077470_gxjrvi/image_0.png', 'sdxl_image_fast_1796077470_gxjrvi', 'ann', 'image', 'image/png', 3, '0000000000000000000000000000000000000000000000000000000000000000', '2026-11-30 22:24:30.76941+00', NULL, NULL, NULL, NULL, NULL);

INSERT INTO public.attempts VALUES ('sdxl_image_fast_1796077470_gxjrvi', 1, 'sdxl_worker_001', '2026-11-30 22:24:30.706813+00', '2026-11-30 22:24:30.740781+00', '\x080e123774686520636f6e6e656374696f6e20746f2074686520776f726b65722062726f6b65207768696c652069742068616420746865206a6f62', 14);
INSERT INTO public.attempts VALUES ('sdxl_image_fast_1796077470_gxjrvi', 2, 'sdxl_worker_001', '2026-11-30 22:24:30.748778+00', '2026-11-30 22:24:30.76941+00', NULL, NULL);
INSERT INTO public.attempts VALUES ('sdxl_image_fast_1796077470_8zqrk7', 1, 'sdxl_worker_001', '2026-11-30 22:24:30.816599+00', NULL, NULL, NULL);
INSERT INTO public.attempts VALUES ('sdxl_image_fast_1796077470_85k7l0', 1, 'sdxl_worker_001', '2026-11-30 22:24:30.833793+00', '2026-11-30 22:24:30.848518+00', '\x080e123774686520636f6e6e656374696f6e20746f2074686520776f726b65722062726f6b65207768696c652069742068616420746865206a6f62', 14);

INSERT INTO public.audit OVERRIDING SYSTEM VALUE VALUES (1, '2026-11-30 22:24:30.865113+00', '', 'policy.in_force', '1', '', '', '');

INSERT INTO public.clocks VALUES ('wan', 0);
INSERT INTO public.clocks VALUES ('chat', 0);
INSERT INTO public.clocks VALUES ('sdxl', 1);

INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_gxjrvi', 1, '2026-11-30 22:24:30.675777+00', '\x1804');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_gxjrvi', 2, '2026-11-30 22:24:30.73184+00', '\x1803');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_gxjrvi', 3, '2026-11-30 22:24:30.740781+00', '\x424d0a3b080e123774686520636f6e6e656374696f6e20746f2074686520776f726b65722062726f6b65207768696c652069742068616420746865206a6f6210011a0c089eefb7d806108082eee002');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_gxjrvi', 4, '2026-11-30 22:24:30.762217+00', '\x1803');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_gxjrvi', 5, '2026-11-30 22:24:30.76941+00', '\x3a022001');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_me71v9', 1, '2026-11-30 22:24:30.786931+00', '\x1804');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_me71v9', 2, '2026-11-30 22:24:30.799961+00', '\x3a022006');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_8zqrk7', 1, '2026-11-30 22:24:30.806706+00', '\x1804');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_8zqrk7', 2, '2026-11-30 22:24:30.823642+00', '\x1803');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_85k7l0', 1, '2026-11-30 22:24:30.830279+00', '\x1804');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_85k7l0', 2, '2026-11-30 22:24:30.84448+00', '\x1803');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_85k7l0', 3, '2026-11-30 22:24:30.848518+00', '\x424d0a3b080e123774686520636f6e6e656374696f6e20746f2074686520776f726b65722062726f6b65207768696c652069742068616420746865206a6f6210011a0c089eefb7d8061080e8ad9403');
INSERT INTO public.events VALUES ('sdxl_image_fast_1796077470_9dq98u', 1, '2026-11-30 22:24:30.859042+00', '\x1804');

INSERT INTO public.idempotency VALUES ('ann', 'key-1', '\x61', 'sdxl_image_fast_1796077470_gxjrvi', '2026-11-30 22:24:30.675777+00');

INSERT INTO public.jobs VALUES ('sdxl_image_fast_1796077470_gxjrvi', 'ann', 'sdxl_image_fast', 'sdxl', false, 'completed', '\x0a217364786c5f696d6167655f666173745f313739363037373437305f67786a72766910011a056120666f782203616e6e2a200801100f19000000000000184022093130323478313032342898b3d4810532003800a2060b080110001a0598b3d48105', '\x82016d0a0c636f6e74656e745f6d6f64651a03736677225874686520737472696374657374206f6620726571756573742c206163636f756e7420616e6420706f6c6963793b207361666520666f7220776f726b207768657265207468652072657175657374206e616d6573206e6f6e658201790a0c636f6e74656e745f6d6f64652269706173736573207468652072756c6573206f66207366773a207366772e73657875616c2c207366772e676f72652c207366772e756e636f76657265642c20616c776179732e7265616c5f706572736f6e2c20616c776179732e756e6472657373696e675f746f6f6c738201320a11636f6e6669672e6e756d5f696d616765731a0131221a64656661756c74206f66207364786c5f696d6167655f6661737482012e0a0c636f6e6669672e73746570731a023135221a64656661756c74206f66207364786c5f696d6167655f666173748201380a15636f6e6669672e67756964616e63655f7363616c651a03362e30221a64656661756c74206f66207364786c5f696d6167655f6661737482013a0a11636f6e6669672e7265736f6c7574696f6e1a09313032347831303234221a64656661756c74206f66207364786c5f696d6167655f666173748201340a16636f6e6669672e6e656761746976655f70726f6d7074221a64656661756c74206f66207364786c5f696d6167655f666173748201330a0e636f6d70656c5f656e61626c65641a0566616c7365221a64656661756c74206f66207364786c5f696d6167655f666173748201370a1273616d706c696e672e7363686564756c65721a0565756c6572221a64656661756c74206f66207364786c5f696d6167655f666173748201330a1273616d706c696e672e636c69705f736b69701a0130221a64656661756c74206f66207364786c5f696d6167655f6661737482012a0a0b636f6e6669672e736565641a0a31333435363537323430220f647261776e2061742072616e646f6d82013e0a0e73616d706c696e672e73656564731a0a313334353635373234302220636f6e6669672e73656564202b20696e646578206f662074686520696d61676582012e0a0b656e68616e63656d656e741a036f6666221a64656661756c74206f66207364786c5f696d6167655f666173748201350a0670726f6d7074222b746f6b656e732077657265206e6f7420636f756e7465643a206e6f20776f726b657220616e7377657265648201250a08646561646c696e651207383634303020731a07383634303020732207726571756573748201220a087072696f726974791a023330221274686174206f6620746965722061646d696eca01056120666f78d2010c616565643135363139346466d80101', '\x0a217364786c5f696d6167655f666173745f313739363037373437305f67786a7276691801', NULL, '2026-11-30 22:24:30.675777+00', '2026-11-30 22:24:30.73184+00', '2026-11-30 22:24:30.76941+00', '2026-12-01 22:24:30.675777+00', '2026-11-30 22:24:30.740781+00', 2, NULL, 5, 0, 'kind', 1, 1, 0, '{}', 1, 'worker:1', 'sdxl_worker_001', 'https://receiver.example/hook', true, NULL, false);
INSERT INTO public.jobs VALUES ('sdxl_image_fast_1796077470_me71v9', 'ann', 'sdxl_image_fast', 'sdxl', false, 'cancelled', '\x0a217364786c5f696d6167655f666173745f313739363037373437305f6d653731763910011a056120666f782203616e6e2a200801100f190000000000001840220931303234783130323428918dc7820732003800a2060b080110001a05918dc78207', '\x82016d0a0c636f6e74656e745f6d6f64651a03736677225874686520737472696374657374206f6620726571756573742c206163636f756e7420616e6420706f6c6963793b207361666520666f7220776f726b207768657265207468652072657175657374206e616d6573206e6f6e658201790a0c636f6e74656e745f6d6f64652269706173736573207468652072756c6573206f66207366773a207366772e73657875616c2c207366772e676f72652c207366772e756e636f76657265642c20616c776179732e7265616c5f706572736f6e2c20616c776179732e756e6472657373696e675f746f6f6c738201320a11636f6e6669672e6e756d5f696d616765731a0131221a64656661756c74206f66207364786c5f696d6167655f6661737482012e0a0c636f6e6669672e73746570731a023135221a64656661756c74206f66207364786c5f696d6167655f666173748201380a15636f6e6669672e67756964616e63655f7363616c651a03362e30221a64656661756c74206f66207364786c5f696d6167655f6661737482013a0a11636f6e6669672e7265736f6c7574696f6e1a09313032347831303234221a64656661756c74206f66207364786c5f696d6167655f666173748201340a16636f6e6669672e6e656761746976655f70726f6d7074221a64656661756c74206f66207364786c5f696d6167655f666173748201330a0e636f6d70656c5f656e61626c65641a0566616c7365221a64656661756c74206f66207364786c5f696d6167655f666173748201370a1273616d706c696e672e7363686564756c65721a0565756c6572221a64656661756c74206f66207364786c5f696d6167655f666173748201330a1273616d706c696e672e636c69705f736b69701a0130221a64656661756c74206f66207364786c5f696d6167655f6661737482012a0a0b636f6e6669672e736565641a0a31383834343037343431220f647261776e2061742072616e646f6d82013e0a0e73616d706c696e672e73656564731a0a313838343430373434312220636f6e6669672e73656564202b20696e646578206f662074686520696d61676582012e0a0b656e68616e63656d656e741a036f6666221a64656661756c74206f66207364786c5f696d6167655f666173748201350a0670726f6d7074222b746f6b656e732077657265206e6f7420636f756e7465643a206e6f20776f726b657220616e73776572656482011f0a08646561646c696e651204363020731a04363020732207726571756573748201220a087072696f726974791a023330221274686174206f6620746965722061646d696eca01056120666f78d2010c616565643135363139346466d80101', NULL, '\x0813121663616e63656c6c656420627920697473206f776e6572', '2026-11-30 22:24:30.786931+00', NULL, '2026-11-30 22:24:30.799961+00', '2026-11-30 22:25:30.786931+00', '2026-11-30 22:24:30.786931+00', 0, NULL, 2, 0, 'kind', 1, 1, 0, '{}', 1, NULL, NULL, NULL, false, NULL, false);
INSERT INTO public.jobs VALUES ('sdxl_image_fast_1796077470_85k7l0', 'ann', 'sdxl_image_fast', 'sdxl', false, 'queued', '\x0a217364786c5f696d6167655f666173745f313739363037373437305f38356b376c3010011a056120666f782203616e6e2a200801100f190000000000001840220931303234783130323428819d97830632003800a2060b080110001a05819d978306', '\x82016d0a0c636f6e74656e745f6d6f64651a03736677225874686520737472696374657374206f6620726571756573742c206163636f756e7420616e6420706f6c6963793b207361666520666f7220776f726b207768657265207468652072657175657374206e616d6573206e6f6e658201790a0c636f6e74656e745f6d6f64652269706173736573207468652072756c6573206f66207366773a207366772e73657875616c2c207366772e676f72652c207366772e756e636f76657265642c20616c776179732e7265616c5f706572736f6e2c20616c776179732e756e6472657373696e675f746f6f6c738201320a11636f6e6669672e6e756d5f696d616765731a0131221a64656661756c74206f66207364786c5f696d6167655f6661737482012e0a0c636f6e6669672e73746570731a023135221a64656661756c74206f66207364786c5f696d6167655f666173748201380a15636f6e6669672e67756964616e63655f7363616c651a03362e30221a64656661756c74206f66207364786c5f696d6167655f6661737482013a0a11636f6e6669672e7265736f6c7574696f6e1a09313032347831303234221a64656661756c74206f66207364786c5f696d6167655f666173748201340a16636f6e6669672e6e656761746976655f70726f6d7074221a64656661756c74206f66207364786c5f696d6167655f666173748201330a0e636f6d70656c5f656e61626c65641a0566616c7365221a64656661756c74206f66207364786c5f696d6167655f666173748201370a1273616d706c696e672e7363686564756c65721a0565756c6572221a64656661756c74206f66207364786c5f696d6167655f666173748201330a1273616d706c696e672e636c69705f736b69701a0130221a64656661756c74206f66207364786c5f696d6167655f6661737482012a0a0b636f6e6669672e736565641a0a31363137323834373337220f647261776e2061742072616e646f6d82013e0a0e73616d706c696e672e73656564731a0a313631373238343733372220636f6e6669672e73656564202b20696e646578206f662074686520696d61676582012e0a0b656e68616e63656d656e741a036f6666221a64656661756c74206f66207364786c5f696d6167655f666173748201350a0670726f6d7074222b746f6b656e732077657265206e6f7420636f756e7465643a206e6f20776f726b657220616e7377657265648201270a08646561646c696e65120836303438303020731a0836303438303020732207726571756573748201220a087072696f726974791a023330221274686174206f6620746965722061646d696eca01056120666f78d2010c616565643135363139346466d80101', NULL, NULL, '2026-11-30 22:24:30.830279+00', '2026-11-30 22:24:30.84448+00', NULL, '2100-01-01 00:00:00+00', '2026-11-30 22:24:30.848518+00', 1, NULL, 3, 0, 'kind', 1, 1, 0, '{}', 1, 'worker:1', 'sdxl_worker_001', 'https://receiver.example/hook', true, NULL, false);
INSERT INTO public.jobs VALUES ('sdxl_image_fast_1796077470_9dq98u', 'carol', 'sdxl_image_fast', 'sdxl', false, 'queued', '\x0a217364786c5f696d6167655f666173745f313739363037373437305f39647139387510011a056120666f7822056361726f6c2a200801100f190000000000001840220931303234783130323428879cd1f40132003800a2060b080110001a05879cd1f401', '\x82016d0a0c636f6e74656e745f6d6f64651a03736677225874686520737472696374657374206f6620726571756573742c206163636f756e7420616e6420706f6c6963793b207361666520666f7220776f726b207768657265207468652072657175657374206e616d6573206e6f6e658201790a0c636f6e74656e745f6d6f64652269706173736573207468652072756c6573206f66207366773a207366772e73657875616c2c207366772e676f72652c207366772e756e636f76657265642c20616c776179732e7265616c5f706572736f6e2c20616c776179732e756e6472657373696e675f746f6f6c738201320a11636f6e6669672e6e756d5f696d616765731a0131221a64656661756c74206f66207364786c5f696d6167655f6661737482012e0a0c636f6e6669672e73746570731a023135221a64656661756c74206f66207364786c5f696d6167655f666173748201380a15636f6e6669672e67756964616e63655f7363616c651a03362e30221a64656661756c74206f66207364786c5f696d6167655f6661737482013a0a11636f6e6669672e7265736f6c7574696f6e1a09313032347831303234221a64656661756c74206f66207364786c5f696d6167655f666173748201340a16636f6e6669672e6e656761746976655f70726f6d7074221a64656661756c74206f66207364786c5f696d6167655f666173748201330a0e636f6d70656c5f656e61626c65641a0566616c7365221a64656661756c74206f66207364786c5f696d6167655f666173748201370a1273616d706c696e672e7363686564756c65721a0565756c6572221a64656661756c74206f66207364786c5f696d6167655f666173748201330a1273616d706c696e672e636c69705f736b69701a0130221a64656661756c74206f66207364786c5f696d6167655f666173748201290a0b636f6e6669672e736565641a09353133303335373833220f647261776e2061742072616e646f6d82013d0a0e73616d706c696e672e73656564731a093531333033353738332220636f6e6669672e73656564202b20696e646578206f662074686520696d61676582012e0a0b656e68616e63656d656e741a036f6666221a64656661756c74206f66207364786c5f696d6167655f666173748201350a0670726f6d7074222b746f6b656e732077657265206e6f7420636f756e7465643a206e6f20776f726b657220616e7377657265648201270a08646561646c696e65120836303438303020731a0836303438303020732207726571756573748201220a087072696f726974791a023330221274686174206f6620746965722061646d696eca01056120666f78d2010c616565643135363139346466d80101', NULL, NULL, '2026-11-30 22:24:30.859042+00', NULL, NULL, '2100-01-01 00:00:00+00', '2026-11-30 22:24:30.859042+00', 0, NULL, 1, 0, 'kind', 1, 1, 0, '{}', 1, NULL, NULL, NULL, false, NULL, false);
INSERT INTO public.jobs VALUES ('sdxl_image_fast_1796077470_8zqrk7', 'bob', 'sdxl_image_fast', 'sdxl', false, 'processing', '\x0a217364786c5f696d6167655f666173745f313739363037373437305f387a71726b3710011a056120666f782203626f622a200801100f190000000000001840220931303234783130323428b3aca6a20732003800a2060b080110001a05b3aca6a207', '\x82016d0a0c636f6e74656e745f6d6f64651a03736677225874686520737472696374657374206f6620726571756573742c206163636f756e7420616e6420706f6c6963793b207361666520666f7220776f726b207768657265207468652072657175657374206e616d6573206e6f6e658201790a0c636f6e74656e745f6d6f64652269706173736573207468652072756c6573206f66207366773a207366772e73657875616c2c207366772e676f72652c207366772e756e636f76657265642c20616c776179732e7265616c5f706572736f6e2c20616c776179732e756e6472657373696e675f746f6f6c738201320a11636f6e6669672e6e756d5f696d616765731a0131221a64656661756c74206f66207364786c5f696d6167655f6661737482012e0a0c636f6e6669672e73746570731a023135221a64656661756c74206f66207364786c5f696d6167655f666173748201380a15636f6e6669672e67756964616e63655f7363616c651a03362e30221a64656661756c74206f66207364786c5f696d6167655f6661737482013a0a11636f6e6669672e7265736f6c7574696f6e1a09313032347831303234221a64656661756c74206f66207364786c5f696d6167655f666173748201340a16636f6e6669672e6e656761746976655f70726f6d7074221a64656661756c74206f66207364786c5f696d6167655f666173748201330a0e636f6d70656c5f656e61626c65641a0566616c7365221a64656661756c74206f66207364786c5f696d6167655f666173748201370a1273616d706c696e672e7363686564756c65721a0565756c6572221a64656661756c74206f66207364786c5f696d6167655f666173748201330a1273616d706c696e672e636c69705f736b69701a0130221a64656661756c74206f66207364786c5f696d6167655f6661737482012a0a0b636f6e6669672e736565641a0a31393530393739363335220f647261776e2061742072616e646f6d82013e0a0e73616d706c696e672e73656564731a0a313935303937393633352220636f6e6669672e73656564202b20696e646578206f662074686520696d61676582012e0a0b656e68616e63656d656e741a036f6666221a64656661756c74206f66207364786c5f696d6167655f666173748201350a0670726f6d7074222b746f6b656e732077657265206e6f7420636f756e7465643a206e6f20776f726b657220616e7377657265648201270a08646561646c696e65120836303438303020731a0836303438303020732207726571756573748201220a087072696f726974791a023330221274686174206f6620746965722061646d696eca01056120666f78d2010c616565643135363139346466d80101', NULL, NULL, '2026-11-30 22:24:30.806706+00', '2026-11-30 22:24:30.823642+00', NULL, '2100-01-01 00:00:00+00', '2026-11-30 22:24:30.806706+00', 1, '2026-11-30 22:24:40.818318+00', 2, 0, 'kind', 1, 1, 0, '{}', 1, 'worker:1', 'sdxl_worker_001', NULL, false, NULL, false);

INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_gxjrvi', 'reserve', 'ann', 1, '2026-11-30 22:24:30.675777+00');
INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_gxjrvi', 'settle', 'ann', 0, '2026-11-30 22:24:30.76941+00');
INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_me71v9', 'reserve', 'ann', 1, '2026-11-30 22:24:30.786931+00');
INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_me71v9', 'settle', 'ann', -1, '2026-11-30 22:24:30.799961+00');
INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_8zqrk7', 'reserve', 'bob', 1, '2026-11-30 22:24:30.806706+00');
INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_85k7l0', 'reserve', 'ann', 1, '2026-11-30 22:24:30.830279+00');
INSERT INTO public.ledger VALUES ('sdxl_image_fast_1796077470_9dq98u', 'reserve', 'carol', 1, '2026-11-30 22:24:30.859042+00');

INSERT INTO public.migrations VALUES ('0001_jobs.sql', '2026-11-30 22:24:30.271767+00');
INSERT INTO public.migrations VALUES ('0002_durability.sql', '2026-11-30 22:24:30.271767+00');
INSERT INTO public.migrations VALUES ('0003_keys.sql', '2026-11-30 22:24:30.271767+00');
INSERT INTO public.migrations VALUES ('0004_quotas.sql', '2026-11-30 22:24:30.271767+00');
INSERT INTO public.migrations VALUES ('0005_uploads.sql', '2026-11-30 22:24:30.271767+00');
INSERT INTO public.migrations VALUES ('0006_audit.sql', '2026-11-30 22:24:30.271767+00');

INSERT INTO public.outbox VALUES ('sdxl_image_fast_1796077470_gxjrvi', 1, 'ann', 'receiver.example', 'processing', 'pending', 0, '2026-11-30 22:24:30.73184+00', NULL, '2026-11-30 22:24:30.73184+00');
INSERT INTO public.outbox VALUES ('sdxl_image_fast_1796077470_gxjrvi', 2, 'ann', 'receiver.example', 'completed', 'pending', 0, '2026-11-30 22:24:30.76941+00', NULL, '2026-11-30 22:24:30.76941+00');
INSERT INTO public.outbox VALUES ('sdxl_image_fast_1796077470_85k7l0', 1, 'ann', 'receiver.example', 'processing', 'pending', 0, '2026-11-30 22:24:30.84448+00', NULL, '2026-11-30 22:24:30.84448+00');

INSERT INTO public.shares VALUES ('bob', 'sdxl', 0, 0, NULL, '2026-11-30 22:24:30.819248+00', 1, 1000000);
INSERT INTO public.shares VALUES ('ann', 'sdxl', 0, 1, '2026-11-30 22:24:30.830279+00', '2026-11-30 22:24:30.840171+00', 1, 1000000);
INSERT INTO public.shares VALUES ('carol', 'sdxl', 0, 1, '2026-11-30 22:24:30.859042+00', NULL, 1, 1000000);

INSERT INTO public.storage VALUES ('ann', 3);

INSERT INTO public.usage VALUES ('bob', '2026-11-30', 1, 1, '2026-11-30 22:24:00+00', 1);
INSERT INTO public.usage VALUES ('ann', '2026-11-30', 3, 2, '2026-11-30 22:24:00+00', 3);
INSERT INTO public.usage VALUES ('carol', '2026-11-30', 1, 1, '2026-11-30 22:24:00+00', 1);

SELECT pg_catalog.setval('public.audit_id_seq', 1, true);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (job_id, number);

ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.clocks
    ADD CONSTRAINT clocks_pkey PRIMARY KEY (worker_type);

ALTER TABLE ONLY public.costs
    ADD CONSTRAINT costs_pkey PRIMARY KEY (kind, worker_id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (job_id, sequence);

ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (owner, key);

ALTER TABLE ONLY public.job_references
    ADD CONSTRAINT job_references_pkey PRIMARY KEY (job_id, key);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ledger
    ADD CONSTRAINT ledger_pkey PRIMARY KEY (job_id, kind);

ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (job_id, number);

ALTER TABLE ONLY public.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.shares
    ADD CONSTRAINT shares_pkey PRIMARY KEY (owner, worker_type, priority);

ALTER TABLE ONLY public.storage
    ADD CONSTRAINT storage_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY public.usage
    ADD CONSTRAINT usage_pkey PRIMARY KEY (owner, day);

CREATE INDEX api_keys_of_maker ON public.api_keys USING btree (maker) WHERE (maker IS NOT NULL);

CREATE INDEX api_keys_of_owner ON public.api_keys USING btree (owner, created DESC, id);

CREATE INDEX assets_age ON public.assets USING btree (GREATEST(created, used)) WHERE (deleted IS NULL);

CREATE INDEX assets_deleted ON public.assets USING btree (deleted) WHERE (deleted IS NOT NULL);

CREATE INDEX assets_of_job ON public.assets USING btree (job_id);

CREATE INDEX assets_of_owner ON public.assets USING btree (owner, created DESC, key);

CREATE INDEX assets_of_source ON public.assets USING btree (owner, source_sha256) WHERE (source_sha256 IS NOT NULL);

CREATE INDEX audit_of_actor ON public.audit USING btree (actor, "time" DESC);

CREATE INDEX idempotency_age ON public.idempotency USING btree (created);

CREATE INDEX job_references_by_key ON public.job_references USING btree (key);

CREATE INDEX jobs_deadline ON public.jobs USING btree (deadline) WHERE (status = 'queued'::text);

CREATE INDEX jobs_ended ON public.jobs USING btree (ended) WHERE (ended IS NOT NULL);

CREATE INDEX jobs_leases ON public.jobs USING btree (lease_expires) WHERE (lease_expires IS NOT NULL);

CREATE INDEX jobs_left ON public.jobs USING btree (created) WHERE ((status = 'queued'::text) AND interactive);

CREATE INDEX jobs_of_owner ON public.jobs USING btree (owner, created DESC, id DESC);

CREATE INDEX jobs_of_worker ON public.jobs USING btree (worker) WHERE (lease_expires IS NOT NULL);

CREATE INDEX jobs_queue ON public.jobs USING btree (owner, worker_type, priority, created, id) INCLUDE (type) WHERE ((status = 'queued'::text) AND (NOT interactive));

CREATE INDEX jobs_running ON public.jobs USING btree (owner) WHERE ((lease_expires IS NOT NULL) AND (NOT interactive));

CREATE INDEX jobs_turns ON public.jobs USING btree (owner, created) WHERE (interactive AND (ended IS NULL));

CREATE INDEX jobs_untidy ON public.jobs USING btree (ended) WHERE ((ended IS NOT NULL) AND (NOT tidy));

CREATE INDEX ledger_of_owner ON public.ledger USING btree (owner, "time");

CREATE INDEX outbox_due ON public.outbox USING btree (next_try) WHERE (state = 'pending'::text);

CREATE INDEX shares_of_type ON public.shares USING btree (worker_type);

CREATE TRIGGER assets_stored AFTER INSERT OR DELETE OR UPDATE OF owner, bytes, deleted ON public.assets FOR EACH ROW EXECUTE FUNCTION public.count_storage();

CREATE TRIGGER audit_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change_of_audit();

CREATE TRIGGER jobs_move BEFORE UPDATE ON public.jobs FOR EACH ROW WHEN (((old.ended IS NOT NULL) OR (old.status <> new.status))) EXECUTE FUNCTION public.refuse_illegal_move();

CREATE TRIGGER jobs_queued AFTER UPDATE OF status ON public.jobs FOR EACH ROW WHEN (((NOT new.interactive) AND ((old.status = 'queued'::text) <> (new.status = 'queued'::text)))) EXECUTE FUNCTION public.count_queued();

CREATE TRIGGER ledger_settled AFTER INSERT ON public.ledger FOR EACH ROW WHEN (((new.kind = 'settle'::text) AND (new.credits <> 0))) EXECUTE FUNCTION public.refund();

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_maker_fkey FOREIGN KEY (maker) REFERENCES public.api_keys(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.job_references
    ADD CONSTRAINT job_references_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;
