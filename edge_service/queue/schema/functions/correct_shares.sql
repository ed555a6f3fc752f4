-- Adds the worker-seconds that ended jobs took beyond their estimates to the lines of their owners.
CREATE OR REPLACE FUNCTION correct_shares(_worker_types text[], _owners text[], _seconds double precision[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM clocks WHERE worker_type = ANY(_worker_types) ORDER BY worker_type FOR UPDATE;
    PERFORM FROM shares JOIN unnest(_worker_types, _owners) AS due(worker_type, owner) USING (worker_type, owner)
    ORDER BY owner, worker_type, priority FOR UPDATE OF shares;
    UPDATE shares SET vtime = vtime + due.seconds
    FROM unnest(_worker_types, _owners, _seconds) AS due(worker_type, owner, seconds)
    WHERE shares.worker_type = due.worker_type AND shares.owner = due.owner;
END $$;
