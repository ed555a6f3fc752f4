-- Who was refused what, who made and revoked which keys, which policies came into force. Rows are only ever added: no
-- code of ours changes or removes one, and the database refuses it. No content is in them: texts are told apart by digest.
CREATE TABLE audit (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time           timestamptz NOT NULL DEFAULT now(),
    actor          text NOT NULL,                     -- user id; '' for the edge itself
    action         text NOT NULL,                     -- 'request.refused', 'key.created', 'key.revoked', 'policy.in_force'
    subject        text NOT NULL,                     -- what was refused, made or changed: a job type, a key's id, a version
    reason         text NOT NULL DEFAULT '',          -- the error's reason, such as 'CONTENT_FORBIDDEN'
    digest         text NOT NULL DEFAULT '',          -- SHA-256 of the texts that were judged
    policy_version text NOT NULL DEFAULT ''
);
CREATE INDEX audit_of_actor ON audit (actor, time DESC);

CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();

-- Adds a row. Of one actor only so many an hour: whoever is refused without end must not fill the disk. The last of them
-- says that there were more.
CREATE FUNCTION append_audit(
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
