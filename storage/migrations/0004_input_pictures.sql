-- A job may read several pictures: the one it starts from, a mask, the maps of its ControlNets.

CREATE TABLE job_inputs (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job_id, sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_inputs_file ON job_inputs (sha256);

INSERT INTO job_inputs (job_id, sha256)
    SELECT id, init_image FROM jobs WHERE init_image IS NOT NULL;

DROP INDEX jobs_init_image;
ALTER TABLE jobs DROP COLUMN init_image;
