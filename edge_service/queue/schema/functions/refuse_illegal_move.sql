-- The state machine of a job: refuses every move that is not of it, and every change of an end.
CREATE OR REPLACE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ended IS NOT NULL
       AND (OLD.status, OLD.ended, OLD.callback, OLD.error) IS DISTINCT FROM (NEW.status, NEW.ended, NEW.callback, NEW.error)
       OR OLD.status <> NEW.status AND NOT (CASE OLD.status
           WHEN 'queued' THEN NEW.status IN ('leased', 'cancelled', 'expired', 'failed')
           WHEN 'leased' THEN NEW.status IN ('processing', 'queued', 'cancelled', 'expired', 'failed')
           WHEN 'processing' THEN NEW.status IN ('queued', 'completed', 'cancelled', 'expired', 'failed')
           ELSE false END)
    THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER jobs_move BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.ended IS NOT NULL OR OLD.status <> NEW.status) EXECUTE FUNCTION refuse_illegal_move();
