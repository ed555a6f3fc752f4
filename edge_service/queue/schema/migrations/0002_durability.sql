-- The rules that keep jobs from being lost, doubled or stuck. Each change of a job is one statement, a function below:
-- no client ever holds a lock between two round trips, so a frozen edge replica delays nobody.
-- Locks are taken in the order owner (advisory), clock, share, job, or singly; a job's row is locked by every change of
-- its state or its events.

ALTER TABLE jobs
    ADD COLUMN priority         integer NOT NULL DEFAULT 0,           -- of the tier and of the request together
    ADD COLUMN kind             text NOT NULL DEFAULT '',             -- jobs of one kind take about as long; see costs
    ADD COLUMN cost             double precision NOT NULL DEFAULT 1,  -- estimated worker-seconds
    ADD COLUMN spread           double precision NOT NULL DEFAULT 1,  -- standard deviation of it
    ADD COLUMN samples          integer NOT NULL DEFAULT 0,           -- ended jobs it was learned from
    ADD COLUMN needs            text[] NOT NULL DEFAULT '{}',         -- what a worker must offer to get it
    ADD COLUMN credits          integer NOT NULL DEFAULT 0,
    ADD COLUMN worker           text,                                 -- address of where its latest attempt went
    ADD COLUMN worker_id        text,                                 -- the name of that worker
    ADD COLUMN webhook_url      text,
    ADD COLUMN webhook_on_start boolean NOT NULL DEFAULT false,
    ADD COLUMN retry_of         text,
    ADD COLUMN tidy             boolean NOT NULL DEFAULT false,       -- of an ended one only the last event is left
    SET (fillfactor = 70);
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue ON jobs (owner, worker_type, priority, created, id) INCLUDE (type)
    WHERE status = 'queued' AND NOT interactive;
CREATE INDEX jobs_deadline ON jobs (deadline) WHERE status = 'queued';
CREATE INDEX jobs_left ON jobs (created) WHERE status = 'queued' AND interactive;
CREATE INDEX jobs_of_worker ON jobs (worker) WHERE lease_expires IS NOT NULL;
CREATE INDEX jobs_turns ON jobs (owner, created) WHERE interactive AND ended IS NULL;
CREATE INDEX jobs_ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE INDEX jobs_untidy ON jobs (ended) WHERE ended IS NOT NULL AND NOT tidy;

ALTER TABLE attempts ADD COLUMN reason integer;       -- job.v1.ErrorReason; null while it runs and when it completed
ALTER TABLE assets ADD COLUMN deleted timestamptz;    -- nobody sees it any more; its object goes first, then this row
CREATE INDEX assets_age ON assets (created);
CREATE INDEX assets_deleted ON assets (deleted) WHERE deleted IS NOT NULL;
CREATE INDEX assets_of_job ON assets (job_id);

-- The line of one owner's queued jobs of one priority before the workers of one type. `vtime` is the worker-seconds it
-- was given, in the sense of fair queueing: the line with the least goes first among those of the highest level.
CREATE TABLE shares (
    owner       text NOT NULL,
    worker_type text NOT NULL,
    priority    integer NOT NULL,
    queued      integer NOT NULL CHECK (queued >= 0),
    head        timestamptz,                          -- when its oldest queued job was created
    served      timestamptz,                          -- when a job was last taken from it, since it was last empty
    vtime       double precision NOT NULL,
    PRIMARY KEY (owner, worker_type, priority)
) WITH (fillfactor = 50);
CREATE INDEX shares_of_type ON shares (worker_type);

-- Where the vtime of the lines stood at most: a line that was idle begins with the least of those of its priority that
-- wait, or here if none does, so that idleness earns no credit. The row's lock lets one replica lease at a time, which
-- keeps the order exact.
CREATE TABLE clocks (worker_type text PRIMARY KEY, vtime double precision NOT NULL);
INSERT INTO clocks VALUES ('sdxl', 0), ('wan', 0), ('chat', 0);

-- Credits reserved when a job is stored and settled when it ends: the sum of a job's rows is what it cost its owner.
CREATE TABLE ledger (
    job_id  text NOT NULL,
    kind    text NOT NULL CHECK (kind IN ('reserve', 'settle')),
    owner   text NOT NULL,
    credits integer NOT NULL,
    time    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, kind)
);
CREATE INDEX ledger_of_owner ON ledger (owner, time);

-- Callbacks to send, written in the transaction of what they tell, sent in the order of their numbers.
CREATE TABLE outbox (
    job_id    text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number    integer NOT NULL,                       -- 1 for the start, 2 for the end
    owner     text NOT NULL,
    host      text NOT NULL DEFAULT '',               -- of the receiver: only so many at once go to the same
    status    text NOT NULL,                          -- of the job, as the callback tells it
    state     text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
    tries     integer NOT NULL DEFAULT 0,
    next_try  timestamptz NOT NULL DEFAULT now(),
    error     text,
    created   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, number)
);
CREATE INDEX outbox_due ON outbox (next_try) WHERE state = 'pending';
CREATE FUNCTION host_of(_url text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(substring(_url from '//(\[[^]]*\]|[^/?:]+)'))
$$;

-- How long jobs of a kind took on a worker: Welford's mean and sum of squared deviations of the log of seconds.
CREATE TABLE costs (
    worker_type text NOT NULL,
    kind        text NOT NULL,
    worker_id   text NOT NULL,
    samples     double precision NOT NULL,
    log_mean    double precision NOT NULL,
    log_m2      double precision NOT NULL,
    updated     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, worker_id)
);

CREATE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER jobs_move BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.ended IS NOT NULL OR OLD.status <> NEW.status) EXECUTE FUNCTION refuse_illegal_move();

CREATE FUNCTION count_queued() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER jobs_queued AFTER UPDATE OF status ON jobs FOR EACH ROW
    WHEN (NOT NEW.interactive AND (OLD.status = 'queued') <> (NEW.status = 'queued')) EXECUTE FUNCTION count_queued();

-- The lines before the workers of a type, each with its level: its priority, raised by one for every `_ageing` seconds
-- that a job which `_offers` suffice for (null: any) has waited there without the line being served, but not above the
-- highest priority that waits: there, shares decide again.
CREATE FUNCTION waiting_lines(_worker_type text, _offers text[], _ageing double precision)
RETURNS TABLE (
    owner text, priority integer, vtime double precision, served timestamptz, head timestamptz, level double precision
) LANGUAGE sql STABLE AS $$
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

-- submit_job and lease_jobs, which know quotas as well, are in 0004.

-- Leases one interactive job, whatever waits, if its worker has a slot.
CREATE FUNCTION lease_job(
    _id text, _worker_type text, _worker text, _worker_id text, _slots integer, _lease interval
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
        INSERT INTO attempts (job_id, number, worker_id) VALUES (taken.id, taken.attempt, _worker_id);
        RETURN NEXT taken;
    END IF;
END $$;

-- Appends events of a running attempt and returns the job's last sequence number; the first of them says that a worker has
-- it: `_started` goes before it. Null if the lease is lost. `_after` is the last sequence number that this attempt knows:
-- if there are more, this very call was done before and the answer to it lost.
CREATE FUNCTION record_events(_id text, _attempt integer, _after bigint, _events bytea[], _started bytea) RETURNS bigint
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

-- What every end of a job has: the end of its attempt, which is charged for what it took, its last event, its settlement
-- and its callback.
CREATE FUNCTION close_job(_job jobs, _error bytea, _reason integer, _event bytea) RETURNS void LANGUAGE plpgsql AS $$
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

-- Ends a running attempt and its job, with the events that were not yet stored and its assets. False if the lease is
-- lost; true if this very attempt has ended the job so already: its commit was done, and the answer to it lost.
CREATE FUNCTION end_job(
    _id text, _attempt integer, _status text, _callback bytea, _error bytea, _reason integer, _after bigint,
    _events bytea[], _started bytea, _event bytea, _keys text[], _types text[], _mime_types text[], _bytes bigint[], _sha256s text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
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

-- Gives a running attempt's job back to its line. One that does not count leaves no trace. False if the lease is lost.
CREATE FUNCTION requeue_job(
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

-- Ends an open job for its owner, and says whether a worker may have it. Null if it had ended already or is not theirs.
CREATE FUNCTION cancel_job(_id text, _owner text, _error bytea, _reason integer, _event bytea) RETURNS boolean
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

-- Ends one queued job whose deadline has passed, or an interactive one whose caller left before it began; returns its
-- id, or null if there is none. In the order of an index: without it all jobs that ever ended would be read for one.
CREATE FUNCTION expire_job(_error bytea, _reason integer, _event bytea) RETURNS text LANGUAGE plpgsql AS $$
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

-- Takes over one running job whose lease has expired: its edge replica is gone.
CREATE FUNCTION take_over(_lease interval) RETURNS SETOF jobs LANGUAGE sql AS $$
    UPDATE jobs SET lease_expires = now() + _lease WHERE id = (
        SELECT id FROM jobs WHERE status IN ('leased', 'processing') AND lease_expires < now()
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
$$;

-- Adds the worker-seconds that ended jobs took beyond their estimates to the lines of their owners.
CREATE FUNCTION correct_shares(_worker_types text[], _owners text[], _seconds double precision[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clocks WHERE worker_type = ANY(_worker_types) ORDER BY worker_type FOR UPDATE;
    PERFORM FROM shares JOIN unnest(_worker_types, _owners) AS due(worker_type, owner) USING (worker_type, owner)
    ORDER BY owner, worker_type, priority FOR UPDATE OF shares;
    UPDATE shares SET vtime = vtime + due.seconds
    FROM unnest(_worker_types, _owners, _seconds) AS due(worker_type, owner, seconds)
    WHERE shares.worker_type = due.worker_type AND shares.owner = due.owner;
END $$;

-- Gives up to `_most` queued jobs the estimate that their kind has now, if it is another by more than `_factor` or much
-- surer, and returns how many. No lease is given meanwhile: it would pass over the jobs that are locked here.
CREATE FUNCTION reprice_jobs(
    _worker_type text, _kinds text[], _costs double precision[], _spreads double precision[], _samples integer[],
    _factor double precision, _most integer
) RETURNS bigint LANGUAGE plpgsql AS $$
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

-- Removes up to `_most` lines in which nothing waits or runs and that were given no more than the clock says, and returns
-- their owners: a job that comes later begins its line there anyway. Nothing can join a line once it is locked, so what
-- is read after that holds.
CREATE FUNCTION forget_shares(_most integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
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
