-- A status line is forgotten when it is settled, so that a start finds those that were left behind.

UPDATE jobs SET status_message_id = NULL WHERE delivered_at IS NOT NULL OR state = 'cancelled';

CREATE INDEX jobs_status_line ON jobs (number) WHERE status_message_id IS NOT NULL;
