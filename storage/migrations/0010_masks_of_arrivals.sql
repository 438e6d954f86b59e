-- What is made anew of an attached picture: by a mask that is attached, too, or by cells of a grid.

ALTER TABLE arrivals ADD COLUMN mask_address TEXT;                  -- where Discord has the mask
ALTER TABLE arrivals ADD COLUMN cells        TEXT NOT NULL DEFAULT '[]';  -- JSON list of 1 to 9
ALTER TABLE arrivals ADD COLUMN invert       INTEGER NOT NULL DEFAULT 0;
