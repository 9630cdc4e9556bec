CREATE TEMP TABLE words (name text, word text);

COPY words FROM '/tmp/ask/words';

COPY (
    -- What nobody can set has no limits worth keeping: they change with each fix.
    SELECT name, vartype AS type, context, unit,
        CASE WHEN context <> 'internal' THEN min_val END AS min,
        CASE WHEN context <> 'internal' THEN max_val END AS max,
        array_to_string(enumvals, '|') AS values,
        (SELECT string_agg(word, '|' ORDER BY word COLLATE "C") FROM words w
            WHERE w.name = s.name AND NOT w.word = ANY (s.enumvals)) AS also
    FROM pg_settings s
    ORDER BY name COLLATE "C"
) TO '/tmp/ask/settings.csv' WITH (FORMAT csv, HEADER);
