-- Poses that people saved, control maps that they look at before a picture is made, and requests whose map is
-- still to be read from an attached picture.

CREATE TABLE poses (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id   INTEGER NOT NULL,
    name       TEXT NOT NULL COLLATE NOCASE,
    guild_id   INTEGER,           -- server whose members may use it, too
    people     TEXT NOT NULL,     -- JSON: of each person 18 points [x, y] or null, in pixels
    width      INTEGER NOT NULL,  -- of the picture that these lie in
    height     INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (owner_id, name)
) STRICT;

CREATE UNIQUE INDEX poses_shared ON poses (guild_id, name) WHERE guild_id IS NOT NULL;

CREATE TABLE drafts (
    id         TEXT PRIMARY KEY,  -- part of button ids
    owner_id   INTEGER NOT NULL,
    request    TEXT NOT NULL,     -- JSON of a GenerationRequest with its one control
    private    INTEGER NOT NULL,
    keeps_seed INTEGER NOT NULL,  -- the person chose the seed
    people     TEXT NOT NULL,     -- JSON as in poses, in pixels of the map
    png        BLOB NOT NULL,     -- the map
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX drafts_owner ON drafts (owner_id, created_at);

ALTER TABLE arrivals ADD COLUMN control TEXT;  -- JSON of a ControlWish: the picture is read for a control
