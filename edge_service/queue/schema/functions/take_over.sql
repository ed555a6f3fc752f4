-- Takes over one running job whose lease has expired: its edge replica is gone.
CREATE OR REPLACE FUNCTION take_over(_lease interval) RETURNS SETOF jobs LANGUAGE sql AS $$
    UPDATE jobs SET lease_expires = now() + _lease WHERE id = (
        SELECT id FROM jobs WHERE status IN ('leased', 'processing') AND lease_expires < now()
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
$$;
