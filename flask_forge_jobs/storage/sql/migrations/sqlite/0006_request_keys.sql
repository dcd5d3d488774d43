-- What was answered to requests that may be repeated.
CREATE TABLE forge_request_key (
    owner       TEXT    NOT NULL,
    request_key TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    answer      TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, request_key)
);
CREATE INDEX forge_request_key_expiry ON forge_request_key (expires_at);
