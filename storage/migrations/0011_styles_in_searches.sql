-- Pictures are found by their styles as well: a column beside the words, so that one index walk answers
-- words, style and owner together, newest first.

DROP TRIGGER generations_words_new;
DROP TABLE generation_words;

-- rowid is jobs.number. `style` holds the sha256 of each LoRA, or "none".
CREATE VIRTUAL TABLE generation_words USING fts5 (
    owner, prompt, style, tokenize = 'porter unicode61 remove_diacritics 2', prefix = '1 2 3'
);

INSERT INTO generation_words (rowid, owner, prompt, style)
    SELECT jobs.number, jobs.owner_id, search_text(json_extract(jobs.request, '$.prompt')),
           coalesce((SELECT group_concat(json_extract(adapter.value, '$.sha256'), ' ')
                     FROM json_each(jobs.request, '$.adapters') AS adapter), 'none')
    FROM generations JOIN jobs ON jobs.id = generations.id
    WHERE generations.deleted_at IS NULL;

CREATE TRIGGER generations_words_new AFTER INSERT ON generations BEGIN
    INSERT INTO generation_words (rowid, owner, prompt, style)
        SELECT number, owner_id, search_text(json_extract(request, '$.prompt')),
               coalesce((SELECT group_concat(json_extract(adapter.value, '$.sha256'), ' ')
                         FROM json_each(jobs.request, '$.adapters') AS adapter), 'none')
        FROM jobs WHERE id = new.id;
END;
