-- What a server's moderators decide about single pictures: reported ones, and those that are held back.

ALTER TABLE servers ADD COLUMN safety TEXT NOT NULL DEFAULT '{}';  -- JSON: reports (a channel), locale, classifier

ALTER TABLE reports ADD COLUMN reason TEXT NOT NULL DEFAULT '';  -- in the reporter's words

ALTER TABLE generation_pictures ADD COLUMN score REAL;  -- the classifier's: unsafe above 0; NULL: not looked at

CREATE TABLE cases (
    job_id        TEXT NOT NULL REFERENCES jobs (id),
    kind          TEXT NOT NULL CHECK (kind IN ('report', 'held')),
    guild_id      INTEGER NOT NULL,
    opened_at     TEXT NOT NULL,
    sending_since TEXT,
    channel_id    INTEGER,                      -- where its message is; NULL before it was sent
    message_id    INTEGER,
    changes       INTEGER NOT NULL DEFAULT 1,
    shown         INTEGER NOT NULL DEFAULT 0,   -- the last change that the message shows
    deleted_by    INTEGER,                      -- who decided what; NULL while nobody did
    blocked_by    INTEGER,
    closed_by     INTEGER,                      -- dismissed, or released
    PRIMARY KEY (job_id, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX cases_to_show ON cases (opened_at) WHERE changes > shown;
