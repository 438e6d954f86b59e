-- Words and phrases that prompts may not have, for each server and for all of the bot.

CREATE TABLE blocked_words (
    guild_id INTEGER NOT NULL,  -- 0: everywhere
    word     TEXT NOT NULL,     -- as it was typed; `*` at its end stands for any ending
    added_at TEXT NOT NULL,
    PRIMARY KEY (guild_id, word)
) STRICT, WITHOUT ROWID;
