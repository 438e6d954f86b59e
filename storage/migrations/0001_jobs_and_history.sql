-- Jobs, the history of their pictures, what people were charged, and small facts: the first version.
-- Times are UTC, ISO 8601 with microseconds, so that their text sorts as they do.

CREATE TABLE people (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    defaults      TEXT NOT NULL DEFAULT '{}',  -- JSON: the options that this person has set
    first_seen_at TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival; clocks may go back
    id                TEXT NOT NULL UNIQUE,
    origin            TEXT NOT NULL UNIQUE,               -- one job for one cause
    owner_id          INTEGER NOT NULL REFERENCES people (id),
    owner_name        TEXT NOT NULL,
    guild_id          INTEGER,
    channel_id        INTEGER NOT NULL,
    private           INTEGER NOT NULL,
    spoiler           INTEGER NOT NULL,
    locale            TEXT NOT NULL,
    action            TEXT NOT NULL,
    parent_id         TEXT REFERENCES generations (id),
    request           TEXT NOT NULL,                      -- JSON of a GenerationRequest
    init_image        TEXT,                               -- the request's picture to start from
    cost              REAL NOT NULL,
    state             TEXT NOT NULL
                      CHECK (state IN ('queued', 'running', 'rendered', 'failed', 'cancelled')),
    attempts          INTEGER NOT NULL DEFAULT 0,
    created_at        TEXT NOT NULL,
    started_at        TEXT,
    finished_at       TEXT,
    error             TEXT,                               -- JSON: [class name, message]
    status_message_id INTEGER,
    result_message_id INTEGER,
    sending_since     TEXT,
    delivered_at      TEXT
) STRICT;

CREATE INDEX jobs_waiting ON jobs (owner_id, number) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_undelivered ON jobs (number)
    WHERE state IN ('rendered', 'failed') AND delivered_at IS NULL;
CREATE INDEX jobs_init_image ON jobs (init_image) WHERE init_image IS NOT NULL;
CREATE INDEX jobs_result_message ON jobs (result_message_id) WHERE result_message_id IS NOT NULL;

-- A job that ended with pictures. What was asked, and by whom, stays in its row of jobs.
CREATE TABLE generations (
    id         TEXT PRIMARY KEY REFERENCES jobs (id),
    owner_id   INTEGER NOT NULL REFERENCES people (id),
    parent_id  TEXT REFERENCES generations (id),
    created_at TEXT NOT NULL,
    seconds    REAL NOT NULL,
    warnings   TEXT NOT NULL,  -- JSON list of sentences
    receipt    TEXT NOT NULL,  -- JSON object
    deleted_at TEXT
) STRICT;

CREATE INDEX generations_recent ON generations (owner_id, created_at, id);
CREATE INDEX generations_parent ON generations (parent_id) WHERE parent_id IS NOT NULL;

-- One row for each picture file.
CREATE TABLE pictures (
    sha256     TEXT PRIMARY KEY,
    bytes      INTEGER NOT NULL,
    width      INTEGER,           -- NULL for uploads: they are not decoded in this process
    height     INTEGER,
    is_upload  INTEGER NOT NULL,  -- somebody's picture to start from, not made here
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE generation_pictures (
    generation_id TEXT NOT NULL REFERENCES generations (id),
    number        INTEGER NOT NULL,                   -- 0-based place in the job
    seed          INTEGER NOT NULL,
    sha256        TEXT REFERENCES pictures (sha256),  -- NULL when the picture was deleted
    PRIMARY KEY (generation_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX generation_pictures_file ON generation_pictures (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE charges (
    job_id      TEXT PRIMARY KEY REFERENCES jobs (id),
    owner_id    INTEGER NOT NULL REFERENCES people (id),
    cost        REAL NOT NULL,
    charged_at  TEXT NOT NULL,
    refunded_at TEXT
) STRICT;

CREATE INDEX charges_window ON charges (owner_id, charged_at);

CREATE TABLE facts (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
