-- Keeps the count and the oldest job of each line of queued jobs.
CREATE OR REPLACE FUNCTION count_queued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A statement that changes one line of an owner may go on to all of them: all lock them in this order, or they would
    -- deadlock.
    PERFORM FROM shares WHERE owner = NEW.owner AND worker_type = NEW.worker_type ORDER BY priority FOR UPDATE;
    IF NEW.status = 'queued' THEN
        UPDATE shares SET queued = queued + 1, head = least(head, NEW.created)
        WHERE owner = NEW.owner AND worker_type = NEW.worker_type AND priority = NEW.priority;
    ELSE
        UPDATE shares SET queued = queued - 1, head = (
            SELECT min(created) FROM jobs WHERE owner = NEW.owner AND worker_type = NEW.worker_type
            AND priority = NEW.priority AND status = 'queued' AND NOT interactive)
        WHERE owner = NEW.owner AND worker_type = NEW.worker_type AND priority = NEW.priority;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER jobs_queued AFTER UPDATE OF status ON jobs FOR EACH ROW
    WHEN (NOT NEW.interactive AND (OLD.status = 'queued') <> (NEW.status = 'queued')) EXECUTE FUNCTION count_queued();
