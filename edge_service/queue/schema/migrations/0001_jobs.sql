-- Jobs and what belongs to them. A job's row is locked by every change of its state or its events, which makes the order
-- of its events the order of their commits: sequence numbers have no gaps and are never reused.

CREATE TABLE jobs (
    id            text PRIMARY KEY,
    owner         text NOT NULL,
    type          text NOT NULL,
    worker_type   text NOT NULL,
    interactive   boolean NOT NULL,                -- answered while the caller waits; never taken from the queue
    status        text NOT NULL CHECK (status IN
                  ('queued', 'leased', 'processing', 'completed', 'failed', 'cancelled', 'expired')),
    plan          bytea NOT NULL,                  -- the worker's job message
    decisions     bytea NOT NULL,                  -- an edge.v1.Job with only its decisions
    callback      bytea,                           -- the worker's callback message, once it has ended
    error         bytea,                           -- a job.v1.JobError, where it did not complete
    created       timestamptz NOT NULL DEFAULT now(),
    started       timestamptz,
    ended         timestamptz,
    deadline      timestamptz NOT NULL,
    not_before    timestamptz NOT NULL DEFAULT now(), -- a retry waits until then
    attempt       integer NOT NULL DEFAULT 0,      -- counts the leases; a write under an older number is refused
    lease_expires timestamptz,
    last_sequence bigint NOT NULL DEFAULT 0,
    CHECK ((status IN ('completed', 'failed', 'cancelled', 'expired')) = (ended IS NOT NULL)),
    CHECK ((status IN ('leased', 'processing')) = (lease_expires IS NOT NULL))
);
CREATE INDEX jobs_queue ON jobs (worker_type, created) WHERE status = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_expires) WHERE lease_expires IS NOT NULL;
CREATE INDEX jobs_of_owner ON jobs (owner, created DESC, id DESC);

CREATE TABLE attempts (
    job_id    text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number    integer NOT NULL,
    worker_id text NOT NULL,
    started   timestamptz NOT NULL DEFAULT now(),
    ended     timestamptz,
    error     bytea,
    PRIMARY KEY (job_id, number)
);

CREATE TABLE events (
    job_id   text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    sequence bigint NOT NULL,
    time     timestamptz NOT NULL DEFAULT now(),
    event    bytea NOT NULL,                       -- an edge.v1.JobEvent without sequence and time
    PRIMARY KEY (job_id, sequence)
);

CREATE TABLE assets (
    key       text PRIMARY KEY,
    job_id    text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    owner     text NOT NULL,
    type      text NOT NULL,
    mime_type text NOT NULL,
    bytes     bigint NOT NULL,
    sha256    text NOT NULL,
    created   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assets_of_owner ON assets (owner, created DESC, key);

-- Written in the transaction that stores the job: a caller whose answer was lost asks again and gets the same job.
CREATE TABLE idempotency (
    owner   text NOT NULL,
    key     text NOT NULL,
    request bytea NOT NULL,                        -- SHA-256 of the request
    job_id  text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON idempotency (created);

CREATE TABLE secrets (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);
