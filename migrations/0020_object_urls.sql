-- The URL of an object in a bucket is s3://bucket/ and the key as it is, as tools take it: they do not
-- decode it, so a key with `%3D` in place of `=` was not found. Keys hold none but these characters
-- that were escaped, and no `%`.

DO $$
DECLARE
    pair text[];
BEGIN
    FOREACH pair SLICE 1 IN ARRAY ARRAY[
        ['%3D', '='], ['%2B', '+'], ['%40', '@'], ['%2C', ','], ['%3A', ':'], ['%3B', ';'],
        ['%21', '!'], ['%24', '$'], ['%26', '&'], ['%27', ''''], ['%28', '('], ['%29', ')']
    ] LOOP
        UPDATE archiver.recordings
           SET object_url = replace(object_url, pair[1], pair[2])
         WHERE object_url LIKE 's3://%' AND strpos(object_url, pair[1]) > 0;
        UPDATE archiver.recordings
           SET kept_aside_url = replace(kept_aside_url, pair[1], pair[2])
         WHERE kept_aside_url LIKE 's3://%' AND strpos(kept_aside_url, pair[1]) > 0;
        UPDATE archiver.uploads
           SET object_url = replace(object_url, pair[1], pair[2])
         WHERE object_url LIKE 's3://%' AND strpos(object_url, pair[1]) > 0;
        -- Finished rows are final.
        UPDATE archiver.retirements
           SET object_url = replace(object_url, pair[1], pair[2])
         WHERE outcome IS NULL AND object_url LIKE 's3://%' AND strpos(object_url, pair[1]) > 0;
    END LOOP;
END $$;

COMMENT ON COLUMN archiver.recordings.object_url IS
    'Where the archived object is: s3://bucket/key, with the key as it is, or file:///path, percent-encoded.';
