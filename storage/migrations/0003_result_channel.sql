-- A result may be in another channel than its command: in a DM, when that channel was closed.

ALTER TABLE jobs ADD COLUMN result_channel_id INTEGER;
