-- Counts requests, jobs and credits of an owner. A transaction that began in the last minute and waited counts in the newest: no minute is counted twice.
CREATE OR REPLACE FUNCTION count_use(_owner text, _requests integer, _jobs integer, _credits integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage AS kept (owner, day, minute, requests, jobs, credits)
        VALUES (_owner, (now() AT TIME ZONE 'UTC')::date, date_trunc('minute', now()), _requests, _jobs, _credits)
    ON CONFLICT (owner, day) DO UPDATE SET jobs = kept.jobs + excluded.jobs, credits = kept.credits + excluded.credits,
        requests = CASE WHEN kept.minute < excluded.minute THEN 0 ELSE kept.requests END + excluded.requests,
        minute = greatest(kept.minute, excluded.minute);
END $$;
