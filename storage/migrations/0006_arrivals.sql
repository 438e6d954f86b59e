-- What was asked for and answered, while its picture is fetched and checked: jobs without their input.

CREATE TABLE arrivals (
    origin     TEXT PRIMARY KEY,
    owner_id   INTEGER NOT NULL,
    submission TEXT NOT NULL,     -- JSON of a Submission; its request lacks the picture
    address    TEXT NOT NULL,     -- where Discord has the picture, for about a day
    strength   REAL NOT NULL,
    takes_size INTEGER NOT NULL,  -- the result has the picture's shape
    message_id INTEGER,           -- the status line
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX arrivals_owner ON arrivals (owner_id);
