-- LoRAs that people may use; their files are beside the database, adapters/<sha256>.safetensors.

CREATE TABLE adapters (
    sha256         TEXT PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE COLLATE NOCASE,
    path           TEXT NOT NULL,     -- of the file, below the data directory
    trigger_words  TEXT NOT NULL,     -- JSON list
    default_weight REAL NOT NULL,
    family         TEXT NOT NULL,     -- of base models: sd15, sd2, sdxl
    enabled        INTEGER NOT NULL,
    added_by       INTEGER NOT NULL,  -- Discord user; 0 for the operator
    size_bytes     INTEGER NOT NULL,
    added_at       TEXT NOT NULL
) STRICT;
