-- LoRAs come from files of a folder, whose changes are noticed; what is gone keeps its name for history.

CREATE TABLE new_adapters (
    sha256         TEXT PRIMARY KEY,
    name           TEXT NOT NULL COLLATE NOCASE,
    path           TEXT NOT NULL,             -- of our copy, below the data directory
    trigger_words  TEXT NOT NULL,             -- JSON list
    default_weight REAL NOT NULL,
    family         TEXT NOT NULL,             -- of base models: pocket, sd15, sd2, sdxl
    enabled        INTEGER NOT NULL,
    added_by       INTEGER NOT NULL,          -- Discord user; 0 for the operator
    size_bytes     INTEGER NOT NULL,
    added_at       TEXT NOT NULL,
    description    TEXT NOT NULL DEFAULT '',
    source         TEXT NOT NULL DEFAULT '',  -- file that it was copied from; '' when it was sent
    stamp          TEXT NOT NULL DEFAULT '',  -- size and time of that file when it was read
    gone           INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO new_adapters (sha256, name, path, trigger_words, default_weight, family, enabled, added_by,
    size_bytes, added_at)
SELECT sha256, name, path, trigger_words, default_weight, family, enabled, added_by, size_bytes, added_at
FROM adapters;

DROP TABLE adapters;
ALTER TABLE new_adapters RENAME TO adapters;

CREATE UNIQUE INDEX adapters_name ON adapters (name) WHERE NOT gone;

CREATE TABLE adapter_previews (
    sha256 TEXT PRIMARY KEY REFERENCES adapters (sha256) ON DELETE CASCADE,
    png    BLOB NOT NULL
) STRICT;
