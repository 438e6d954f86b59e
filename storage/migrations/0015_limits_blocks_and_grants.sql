-- What those who look after the bot or a server decide about people: limits, blocks, extra pictures.
-- None of it refers to a row of people: it holds for an id, also after that person was erased.

CREATE TABLE limit_rules (
    guild_id   INTEGER NOT NULL,  -- 0: everywhere, by the bot's owners
    kind       TEXT NOT NULL CHECK (kind IN ('everybody', 'role', 'person')),
    target_id  INTEGER NOT NULL,  -- of the role or person; 0 for everybody
    per_minute INTEGER,
    waiting    INTEGER,
    steps      INTEGER,
    side       INTEGER,
    count      INTEGER,
    daily      REAL,
    PRIMARY KEY (guild_id, kind, target_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX limit_rules_target ON limit_rules (kind, target_id);

CREATE TABLE blocks (
    guild_id   INTEGER NOT NULL,  -- 0: everywhere, by the bot's owners
    person_id  INTEGER NOT NULL,
    actor_id   INTEGER NOT NULL,
    blocked_at TEXT NOT NULL,
    PRIMARY KEY (guild_id, person_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX blocks_person ON blocks (person_id, guild_id);

CREATE TABLE grants (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    person_id  INTEGER NOT NULL,
    pictures   REAL NOT NULL,  -- of one without an end: what is left of them
    ends_at    TEXT,           -- until then so many more in 24 hours; NULL: used up once
    granted_at TEXT NOT NULL
) STRICT;

CREATE INDEX grants_person ON grants (person_id);

ALTER TABLE charges ADD COLUMN guild_id INTEGER;  -- where; -1 after an erasure: counts in every server
ALTER TABLE charges ADD COLUMN batch TEXT;        -- its jobs do not stand in its own way
ALTER TABLE charges ADD COLUMN granted REAL NOT NULL DEFAULT 0;  -- of the cost, what a grant paid

UPDATE charges SET guild_id = (SELECT guild_id FROM jobs WHERE jobs.id = charges.job_id);
