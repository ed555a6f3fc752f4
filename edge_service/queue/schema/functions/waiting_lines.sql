-- The lines before the workers of a type, each with its level: its priority, raised by one for every `_ageing` seconds
-- that a job which `_offers` suffice for (null: any) has waited there without the line being served, but not above the
-- highest priority that waits: there, shares decide again.
CREATE OR REPLACE FUNCTION waiting_lines(_worker_type text, _offers text[], _ageing double precision)
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
