-- Keeps the bytes of each owner's assets that are not deleted.
CREATE OR REPLACE FUNCTION count_storage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted IS NULL THEN
        UPDATE storage SET bytes = bytes - OLD.bytes WHERE owner = OLD.owner;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted IS NULL THEN
        INSERT INTO storage AS kept VALUES (NEW.owner, NEW.bytes)
        ON CONFLICT (owner) DO UPDATE SET bytes = kept.bytes + excluded.bytes;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER assets_stored AFTER INSERT OR DELETE OR UPDATE OF owner, bytes, deleted ON assets
    FOR EACH ROW EXECUTE FUNCTION count_storage();
