-- Whether the owner of a line has fewer jobs running than they may. What a lost replica leased counts until another one
-- has taken it over: it may still run. In plpgsql, for that keeps its plan.
CREATE OR REPLACE FUNCTION may_start(_owner text, _worker_type text, _priority integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT most_running IS NULL OR most_running > (
        SELECT count(*) FROM jobs WHERE owner = _owner AND lease_expires IS NOT NULL AND NOT interactive)
    FROM shares WHERE owner = _owner AND worker_type = _worker_type AND priority = _priority);
END $$;
