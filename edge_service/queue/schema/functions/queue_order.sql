-- The queued jobs of a type in the order in which `lease_jobs` takes them if nothing changes, each with the sums of the
-- costs, their variances and their doubts up to and with its own.
-- What `lease_jobs` does one by one, for all at once. The first job of a line has what the line has waited for: it is taken
-- with the lines whose priority it has reached, for once those above are done theirs bounds what waiting gives. Those behind
-- it begin to wait when it is taken. All lines of an owner advance together, so an owner's jobs have one order; where each
-- begins is the vtime of its line and the cost of those before it.
-- The spread of a kind of which little is known is an error that all its jobs share: such errors add up, others do not.
CREATE OR REPLACE FUNCTION queue_order(_worker_type text, _ageing double precision)
RETURNS TABLE (
    id text, place bigint, cost double precision, variance double precision, doubt double precision
) LANGUAGE sql STABLE AS $$
    WITH lines AS MATERIALIZED (
        SELECT *, dense_rank() OVER (ORDER BY owner) AS share FROM waiting_lines(_worker_type, NULL, _ageing)
    ), priorities AS MATERIALIZED (
        SELECT DISTINCT priority FROM lines
    ), waiting AS (
        SELECT jobs.id, share, vtime, jobs.created, jobs.cost, spread ^ 2 AS variance,
            spread / sqrt(1 + samples) AS doubt, CASE jobs.created WHEN head THEN served_at ELSE priority END AS level,
            lines.served IS NULL AND jobs.created = head AS fresh
        FROM lines CROSS JOIN LATERAL (
            SELECT max(priorities.priority) AS served_at FROM priorities WHERE priorities.priority <= lines.level
        ) AS served JOIN jobs USING (owner, priority)
        WHERE worker_type = _worker_type AND status = 'queued' AND NOT interactive
    ), begun AS (
        SELECT *, vtime + coalesce(sum(cost) OVER (
            PARTITION BY share ORDER BY queue_key(level, vtime, fresh, created), id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS begin FROM waiting
    )
    SELECT id, row_number() OVER line, sum(cost) OVER line, sum(variance) OVER line, sum(doubt) OVER line
    FROM begun WINDOW line AS (ORDER BY queue_key(level, begin, fresh, created), share, id ROWS UNBOUNDED PRECEDING)
$$;
