-- Words to search pictures by, stars, an audit, and what is left to do of a person's erasure.

-- Everything of one person by order of arrival: for lists, the export and the erasure.
CREATE INDEX jobs_owner ON jobs (owner_id, number);
CREATE INDEX jobs_parent ON jobs (parent_id) WHERE parent_id IS NOT NULL;
-- Few people set defaults; all of these are read at the start.
CREATE INDEX people_defaults ON people (id) WHERE defaults <> '{}';

-- rowid is jobs.number. `search_text` is defined by storage.database. The owner is a word as well, so
-- that a search walks one person's pictures only, newest first.
CREATE VIRTUAL TABLE generation_words USING fts5 (
    owner, prompt, tokenize = 'porter unicode61 remove_diacritics 2', prefix = '2 3'
);

INSERT INTO generation_words (rowid, owner, prompt)
    SELECT jobs.number, jobs.owner_id, search_text(json_extract(jobs.request, '$.prompt'))
    FROM generations JOIN jobs ON jobs.id = generations.id
    WHERE generations.deleted_at IS NULL;

CREATE TRIGGER generations_words_new AFTER INSERT ON generations BEGIN
    INSERT INTO generation_words (rowid, owner, prompt)
        SELECT number, owner_id, search_text(json_extract(request, '$.prompt'))
        FROM jobs WHERE id = new.id;
END;

CREATE TRIGGER generations_words_deleted AFTER UPDATE OF deleted_at ON generations
    WHEN new.deleted_at IS NOT NULL BEGIN
    DELETE FROM generation_words WHERE rowid = (SELECT number FROM jobs WHERE id = new.id);
END;

CREATE TRIGGER generations_words_gone BEFORE DELETE ON generations BEGIN
    DELETE FROM generation_words WHERE rowid = (SELECT number FROM jobs WHERE id = old.id);
END;

CREATE TABLE stars (
    person_id  INTEGER NOT NULL,
    number     INTEGER NOT NULL REFERENCES jobs (number),
    starred_at TEXT NOT NULL,
    PRIMARY KEY (person_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX stars_job ON stars (number);

-- A charge outlives its job: what was used up counts for 24 hours, also after an erasure.
CREATE TABLE lasting_charges (
    job_id      TEXT PRIMARY KEY,
    owner_id    INTEGER NOT NULL,
    cost        REAL NOT NULL,
    charged_at  TEXT NOT NULL,
    refunded_at TEXT
) STRICT;

INSERT INTO lasting_charges (job_id, owner_id, cost, charged_at, refunded_at)
    SELECT job_id, owner_id, cost, charged_at, refunded_at FROM charges;
DROP TABLE charges;
ALTER TABLE lasting_charges RENAME TO charges;
CREATE INDEX charges_window ON charges (owner_id, charged_at);

-- Who did what, without content.
CREATE TABLE audit (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    at       TEXT NOT NULL,
    actor_id INTEGER NOT NULL,
    act      TEXT NOT NULL,
    detail   TEXT NOT NULL DEFAULT '{}'  -- JSON object
) STRICT;

CREATE INDEX audit_actor ON audit (actor_id, number);
CREATE INDEX audit_act ON audit (act, actor_id);

CREATE TABLE erasures (
    person_id INTEGER PRIMARY KEY,
    up_to     INTEGER NOT NULL,  -- number of the newest job that goes
    asked_at  TEXT NOT NULL
) STRICT;

-- Messages with pictures that were erased here and are still to be deleted in Discord.
CREATE TABLE messages_to_delete (
    message_id INTEGER PRIMARY KEY,
    channel_id INTEGER NOT NULL
) STRICT;
