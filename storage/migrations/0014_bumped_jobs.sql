-- A job that an operator put to the front of the line is there again after a restart.

ALTER TABLE jobs ADD COLUMN bumped_at TEXT;
