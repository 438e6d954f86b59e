-- What the bot's owners and the managers of servers do with styles.

-- A style that was removed by command stays so, though its file is still in the folder.
ALTER TABLE adapters ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
-- JSON list: people's defaults and mixes say the old name after it was changed.
ALTER TABLE adapters ADD COLUMN former_names TEXT NOT NULL DEFAULT '[]';

-- Styles that are not used in a server.
CREATE TABLE hidden_styles (
    guild_id INTEGER NOT NULL,
    sha256   TEXT NOT NULL REFERENCES adapters (sha256) ON DELETE CASCADE,
    PRIMARY KEY (guild_id, sha256)
) STRICT, WITHOUT ROWID;
