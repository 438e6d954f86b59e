-- Pictures that people reported to the operator; a person reports one once.

CREATE TABLE reports (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id      TEXT NOT NULL REFERENCES jobs (id),
    reporter_id INTEGER NOT NULL,
    guild_id    INTEGER,           -- where the message is that was reported; NULL in a DM
    channel_id  INTEGER NOT NULL,
    message_id  INTEGER NOT NULL,
    reported_at TEXT NOT NULL,
    UNIQUE (job_id, reporter_id)
) STRICT;

CREATE INDEX reports_reporter ON reports (reporter_id);
