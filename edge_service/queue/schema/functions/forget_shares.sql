-- Removes up to `_most` lines in which nothing waits or runs and that were given no more than the clock says, and returns
-- their owners: a job that comes later begins its line there anyway. Nothing can join a line once it is locked, so what
-- is read after that holds.
CREATE OR REPLACE FUNCTION forget_shares(_most integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
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
