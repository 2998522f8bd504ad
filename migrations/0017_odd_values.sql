-- What is odd about one recording stays with that recording.

-- A file that is not of its declared format is archived as it is sent, and flagged.
ALTER TABLE archiver.recordings ADD COLUMN format_mismatch text;
COMMENT ON COLUMN archiver.recordings.format_mismatch IS
    'What the archived file is by its first bytes where that is not media_format: mp4, matroska, ogg, wav, avi, mp3, aac, flac, mpeg_ts, mpeg_ps, unknown (of no known container) or too_short (for the header of any). NULL if they agree, or nothing is known of the declared format.';
COMMENT ON COLUMN archiver.recordings.metadata IS
    'Provider: the whole object as last sent, without the signed link. What jsonb cannot hold is kept as text (numbers beyond numeric, values nested deeper than 100 levels) or as U+FFFD (U+0000, lone surrogates); the manifest holds it as sent. NULL until the provider was asked.';
CREATE INDEX recordings_format_mismatch ON archiver.recordings (format_mismatch)
    WHERE state = 'archived' AND format_mismatch IS NOT NULL;
COMMENT ON INDEX archiver.recordings_format_mismatch IS
    'Archived files that are not of their declared format.';

ALTER TABLE archiver.uploads ADD COLUMN format_mismatch text;
COMMENT ON COLUMN archiver.uploads.format_mismatch IS
    'As in archiver.recordings, for the attempt that resumes the upload and does not see the first bytes.';

-- A length of 2^63-1 seconds is none, and two of them overflow every sum.
UPDATE archiver.recordings SET duration_secs = NULL WHERE duration_secs > 1000000000;
ALTER TABLE archiver.recordings
    ADD CONSTRAINT duration_is_plausible CHECK (duration_secs <= 1000000000);
COMMENT ON CONSTRAINT duration_is_plausible ON archiver.recordings IS
    'At most 31 years: the sums of lengths in schema finance do not overflow. A longer one stays in metadata only.';
COMMENT ON COLUMN archiver.recordings.duration_secs IS
    'Provider: length in whole seconds; NULL if it is unknown, negative or longer than 31 years.';
