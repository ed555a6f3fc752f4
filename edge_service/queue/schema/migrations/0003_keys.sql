-- API keys. A key's secret is shown once and stored nowhere: it has 256 random bits, so one round of SHA-256 hides it.
CREATE TABLE api_keys (
    id        text PRIMARY KEY,
    digest    bytea NOT NULL,                      -- SHA-256 of the whole secret
    name      text NOT NULL,
    owner     text NOT NULL,
    tier      text NOT NULL,
    scopes    text[] NOT NULL,
    content_mode integer,                          -- edge.v1.ContentMode of the account that made it; null if it said none
    maker     text REFERENCES api_keys ON DELETE SET NULL, -- the key that made it, which it does not outlive
    created   timestamptz NOT NULL DEFAULT now(),
    expires   timestamptz NOT NULL,
    revoked   timestamptz,
    last_used timestamptz                          -- give or take a minute
);
CREATE INDEX api_keys_of_owner ON api_keys (owner, created DESC, id);
CREATE INDEX api_keys_of_maker ON api_keys (maker) WHERE maker IS NOT NULL;
