-- Adds a row to the audit log. At most `_most` an hour for one actor, so that one who is refused without end cannot fill the
-- disk; the row after those says that there were more.
CREATE OR REPLACE FUNCTION append_audit(
    _actor text, _action text, _subject text, _reason text, _digest text, _policy_version text, _most integer
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    already bigint;
BEGIN
    SELECT count(*) INTO already FROM audit WHERE actor = _actor AND time > now() - interval '1 hour';
    IF already < _most THEN
        INSERT INTO audit (actor, action, subject, reason, digest, policy_version)
            VALUES (_actor, _action, _subject, _reason, _digest, _policy_version);
    ELSIF already = _most THEN
        INSERT INTO audit (actor, action, subject) VALUES (_actor, 'audit.full', 'more within this hour is not kept');
    END IF;
END $$;
