-- Gives credits that are settled back to the day in which they were reserved.
CREATE OR REPLACE FUNCTION refund() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage SET credits = credits + NEW.credits WHERE owner = NEW.owner AND day = (
        SELECT (time AT TIME ZONE 'UTC')::date FROM ledger WHERE job_id = NEW.job_id AND kind = 'reserve');
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER ledger_settled AFTER INSERT ON ledger FOR EACH ROW
    WHEN (NEW.kind = 'settle' AND NEW.credits <> 0) EXECUTE FUNCTION refund();
