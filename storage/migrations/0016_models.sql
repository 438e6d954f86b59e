-- Which models a server takes, and which jobs are for one model alone.

ALTER TABLE servers ADD COLUMN models TEXT NOT NULL DEFAULT '{}';  -- JSON: default (a name), denied (names)

ALTER TABLE jobs ADD COLUMN pins_model INTEGER NOT NULL DEFAULT 0;  -- it was asked for by its name
