-- That telling a refusal began is noted first, so that a kill right after it does not tell it again.
ALTER TABLE arrivals ADD COLUMN refusal TEXT;  -- the words; NULL while nothing is refused
