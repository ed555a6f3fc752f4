-- Raises ATQ01 if an owner has used up what one more request and one more job of `_credits` need. Exact as long as the
-- caller holds the owner's lock.
CREATE OR REPLACE FUNCTION check_quotas(_owner text, _credits integer, _quotas quotas) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    used record;
BEGIN
    SELECT * INTO used FROM used_by(_owner, _quotas.period);
    IF used.requests >= _quotas.requests_per_minute THEN
        PERFORM exceed('requests_per_minute', _quotas.requests_per_minute, used.requests, 'minute');
    ELSIF used.jobs >= _quotas.jobs_per_day THEN
        PERFORM exceed('jobs_per_day', _quotas.jobs_per_day, used.jobs, 'day');
    ELSIF used.credits + _credits > _quotas.credits_per_period THEN
        PERFORM exceed('credits', _quotas.credits_per_period, used.credits, _quotas.period);
    ELSIF used.bytes >= _quotas.storage_bytes THEN
        PERFORM exceed('storage_bytes', _quotas.storage_bytes, used.bytes, NULL);
    END IF;
END $$;
