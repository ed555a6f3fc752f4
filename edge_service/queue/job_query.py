"""Jobs with all that a client sees of them, in one query however many they are.

The columns are named, not `*`: a migration that adds one must not break what older replicas have prepared.
"""

# Attempts as arrays, which psycopg reads as they are. Of callbacks the one that is being sent, or else the last.
COLUMNS = """
    jobs.id, jobs.owner, jobs.type, jobs.worker_type, jobs.status, jobs.plan, jobs.decisions, jobs.callback, jobs.error,
    jobs.created, jobs.started, jobs.ended, jobs.deadline, jobs.priority, jobs.credits, jobs.retry_of,
    jobs.last_sequence, jobs.webhook_url, attempts.*, delivery.*"""
HISTORY = """
LEFT JOIN LATERAL (
    SELECT array_agg(number) AS attempt_numbers, array_agg(worker_id) AS attempt_workers,
        array_agg(started) AS attempt_starts, array_agg(ended) AS attempt_ends, array_agg(error) AS attempt_errors,
        array_agg(routing) AS attempt_routings
    FROM (SELECT * FROM attempts WHERE job_id = jobs.id AND jobs.attempt > 0 ORDER BY number) AS attempts
) AS attempts ON true LEFT JOIN LATERAL (
    SELECT state AS webhook_state, tries AS webhook_tries, error AS webhook_error, next_try AS webhook_next_try
    FROM outbox WHERE job_id = jobs.id AND jobs.webhook_url IS NOT NULL
    ORDER BY state = 'pending' DESC, CASE state WHEN 'pending' THEN number ELSE -number END LIMIT 1
) AS delivery ON true"""
JOB = f"SELECT {COLUMNS} FROM jobs {HISTORY} WHERE jobs.id = %(id)s AND jobs.owner = %(owner)s"
# What an idempotency key stands for, if it was used for this very request.
EARLIER = f"""
SELECT {COLUMNS} FROM idempotency JOIN jobs ON jobs.id = job_id {HISTORY}
WHERE idempotency.owner = %(owner)s AND key = %(key)s AND request = %(request)s
    AND idempotency.created > now() - interval '24 hours'"""
# The first `limit` jobs of an owner from a place on, but none after those that have `max_bytes` together: a job may be
# large.
PAGE = """
SELECT {columns} FROM (
    SELECT *, coalesce(sum(octet_length(plan) + octet_length(decisions) + coalesce(octet_length(callback), 0)) OVER (
        ORDER BY created DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
    FROM (
        SELECT * FROM jobs WHERE owner = %(owner)s {conditions} ORDER BY created DESC, id DESC LIMIT %(limit)s
    ) AS newest
) AS jobs {history}
WHERE bytes_before < %(max_bytes)s ORDER BY jobs.created DESC, jobs.id DESC"""


def page_query(has_statuses: bool, has_before: bool) -> str:
    """The query of a page: `statuses` limits it to some states, `created` and `id` say where the page before ended."""
    conditions = " AND status = ANY(%(statuses)s)" if has_statuses else ""
    conditions += " AND (created, id) < (%(created)s, %(id)s)" if has_before else ""
    return PAGE.format(columns=COLUMNS, history=HISTORY, conditions=conditions)
