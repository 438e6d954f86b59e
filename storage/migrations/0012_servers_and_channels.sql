-- What a server's moderators have set for all of it, or for one of its channels.

CREATE TABLE servers (
    id       INTEGER PRIMARY KEY,
    defaults TEXT NOT NULL DEFAULT '{}'  -- JSON: options that nobody there has to give
) STRICT;

CREATE TABLE channels (
    id       INTEGER PRIMARY KEY,
    guild_id INTEGER NOT NULL,
    defaults TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- Few have any; all of these are read at the start.
CREATE INDEX servers_defaults ON servers (id) WHERE defaults <> '{}';
CREATE INDEX channels_defaults ON channels (id) WHERE defaults <> '{}';
