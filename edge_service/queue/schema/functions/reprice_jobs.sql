-- Gives up to `_most` queued jobs the estimate that their kind has now, if it is another by more than `_factor` or much
-- surer, and returns how many. No lease is given meanwhile: it would pass over the jobs that are locked here.
CREATE OR REPLACE FUNCTION reprice_jobs(
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
