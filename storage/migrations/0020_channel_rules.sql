-- In which channels of a server pictures are made, and how: what its managers decide.

CREATE TABLE channel_rules (
    guild_id   INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,  -- 0: all channels of the server that have no rule of their own
    allowed    INTEGER CHECK (allowed IN (0, 1)),  -- NULL: as the server says; without that, yes
    mode       TEXT CHECK (mode IN ('none', 'sfw', 'spoiler', 'nsfw-only')),  -- NULL: the same; none
    PRIMARY KEY (guild_id, channel_id)
) STRICT, WITHOUT ROWID;
