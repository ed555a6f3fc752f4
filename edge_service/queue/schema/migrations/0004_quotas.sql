-- What an account may use, counted to the unit however many replicas count. A day is one of UTC.
-- Locks are taken in the order owner (advisory, 1), clock, owner whose jobs are leased (advisory, 3), share, job, and last
-- storage and usage, whose rows nobody holds while waiting for any of the others.

-- The sizes of an account's limits. Null: not asked for.
CREATE TYPE quotas AS (
    requests_per_minute integer,
    max_running         integer,
    jobs_per_day        integer,
    credits_per_period  bigint,
    period              text,                         -- 'day' or 'month'
    storage_bytes       bigint
);

-- What an owner used in a day. Credits are those reserved in that day and not given back since; jobs are those accepted.
CREATE TABLE usage (
    owner    text NOT NULL,
    day      date NOT NULL,
    jobs     integer NOT NULL CHECK (jobs >= 0),
    credits  bigint NOT NULL CHECK (credits >= 0),
    minute   timestamptz NOT NULL,                    -- the newest minute of the day with a request
    requests integer NOT NULL CHECK (requests >= 0),  -- in that minute
    PRIMARY KEY (owner, day)
) WITH (fillfactor = 50);

-- The bytes of an owner's assets that are not deleted.
CREATE TABLE storage (
    owner text PRIMARY KEY,
    bytes bigint NOT NULL CHECK (bytes >= 0)
) WITH (fillfactor = 50);

CREATE FUNCTION count_storage() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER assets_stored AFTER INSERT OR DELETE OR UPDATE OF owner, bytes, deleted ON assets
    FOR EACH ROW EXECUTE FUNCTION count_storage();

-- What is settled goes back to the day in which it was reserved.
CREATE FUNCTION refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage SET credits = credits + NEW.credits WHERE owner = NEW.owner AND day = (
        SELECT (time AT TIME ZONE 'UTC')::date FROM ledger WHERE job_id = NEW.job_id AND kind = 'reserve');
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_settled AFTER INSERT ON ledger FOR EACH ROW
    WHEN (NEW.kind = 'settle' AND NEW.credits <> 0) EXECUTE FUNCTION refund();

-- When a 'minute', 'day' or 'month' that has begun ends.
CREATE FUNCTION end_of(_period text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT (date_trunc(_period, now() AT TIME ZONE 'UTC') + ('1 ' || _period)::interval) AT TIME ZONE 'UTC'
$$;

-- What an owner has used of each limit that counts over time, and of storage.
CREATE FUNCTION used_by(_owner text, _period text)
RETURNS TABLE (requests integer, jobs integer, credits bigint, bytes bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(requests) FILTER (WHERE minute >= date_trunc('minute', now())), 0),
        coalesce(max(jobs) FILTER (WHERE day = today), 0),
        coalesce(sum(credits), 0)::bigint,
        coalesce((SELECT bytes FROM storage WHERE owner = _owner), 0)
    FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS clock LEFT JOIN usage
        ON owner = _owner AND day BETWEEN date_trunc(_period, now() AT TIME ZONE 'UTC')::date AND today
$$;

-- Raises ATQ01 (detail: limit, size, use, when it is forgotten and in how many seconds).
CREATE FUNCTION exceed(_limit text, _size bigint, _used bigint, _period text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'quota used up' USING ERRCODE = 'ATQ01', DETAIL = format('%s %s %s %s %s', _limit, _size, _used,
        to_char(end_of(_period) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        extract(epoch FROM end_of(_period) - now()));
END $$;

-- Raises ATQ01 if an owner has used up what one more request and one more job of `_credits` need. Exact as long as the
-- caller holds the owner's lock.
CREATE FUNCTION check_quotas(_owner text, _credits integer, _quotas quotas) RETURNS void LANGUAGE plpgsql AS $$
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

-- A transaction that began in the last minute and waited counts in the newest: no minute is counted twice.
CREATE FUNCTION count_use(_owner text, _requests integer, _jobs integer, _credits integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage AS kept (owner, day, minute, requests, jobs, credits)
        VALUES (_owner, (now() AT TIME ZONE 'UTC')::date, date_trunc('minute', now()), _requests, _jobs, _credits)
    ON CONFLICT (owner, day) DO UPDATE SET jobs = kept.jobs + excluded.jobs, credits = kept.credits + excluded.credits,
        requests = CASE WHEN kept.minute < excluded.minute THEN 0 ELSE kept.requests END + excluded.requests,
        minute = greatest(kept.minute, excluded.minute);
END $$;

-- Counts a request that stores no job. Raises ATQ01 if there were too many in this minute.
CREATE FUNCTION count_request(_owner text, _most integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1, hashtext(_owner));
    PERFORM check_quotas(_owner, 0, ROW(_most, NULL, NULL, NULL, 'day', NULL)::quotas);
    PERFORM count_use(_owner, 1, 0, 0);
END $$;

-- How many jobs of its owner may run at once, of all types together, as it was when one was last stored in the line.
ALTER TABLE shares ADD COLUMN most_running integer;
CREATE INDEX jobs_running ON jobs (owner) WHERE lease_expires IS NOT NULL AND NOT interactive;

-- Stores a job and returns it, or the one that its idempotency key already stands for. Raises ATF01 (detail: limit,
-- size and use) for a full queue, ATQ01 for a quota that is used up and ATI01 for a key that stands for another request;
-- then nothing is stored, nor counted.
CREATE FUNCTION submit_job(
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
    -- Last, for this row is also locked by whoever ends a job and holds its line.
    PERFORM count_use(_owner, CASE WHEN _quotas.requests_per_minute IS NULL THEN 0 ELSE 1 END, 1, _credits);
END $$;

-- Whether the owner of a line has fewer jobs running than they may. What a lost replica leased counts until another one
-- has taken it over: it may still run. In plpgsql, for that keeps its plan.
CREATE FUNCTION may_start(_owner text, _worker_type text, _priority integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT most_running IS NULL OR most_running > (
        SELECT count(*) FROM jobs WHERE owner = _owner AND lease_expires IS NOT NULL AND NOT interactive)
    FROM shares WHERE owner = _owner AND worker_type = _worker_type AND priority = _priority);
END $$;

-- Leases up to `_count` queued jobs for a worker: of the lines of the highest level the one that was given the least, or
-- of equals one that was not served since it came, and of it the oldest job that is due.
-- All replicas together give a worker no more than it has slots; a lease that nobody renews does not count for long.
-- Owners who have as many jobs running as they may are passed over.
CREATE FUNCTION lease_jobs(
    _worker_type text, _worker text, _worker_id text, _offers text[], _count integer, _slots integer, _lease interval,
    _ageing double precision
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
