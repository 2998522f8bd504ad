-- Unfinished uploads that can be gone on with, and what proves a finished one.

ALTER TABLE archiver.uploads
    ADD COLUMN attempt_token  uuid,
    ADD COLUMN verified_by    text CHECK (verified_by IN ('signature', 'crc64nvme', 'sha256')),
    ADD COLUMN size_bytes     bigint CHECK (size_bytes >= 0),
    ADD COLUMN validator      text,
    ADD COLUMN part_bytes     bigint CHECK (part_bytes > 0),
    ADD COLUMN hash_state     bytea,
    ADD COLUMN checkpoint_at  timestamptz;
COMMENT ON TABLE archiver.uploads IS
    'Unfinished multipart uploads, written before their first part, with the point from which another process can go on. One that nobody will go on with is aborted by the next sweep.';
COMMENT ON COLUMN archiver.uploads.lease_token IS 'The lease that owns the upload; changes when another attempt goes on with it.';
COMMENT ON COLUMN archiver.uploads.attempt_token IS
    'Written into the object''s own metadata when the upload was begun: tells our object from a stranger''s.';
COMMENT ON COLUMN archiver.uploads.verified_by IS
    'What the store verifies each part by: signature (of the request, nothing else), crc64nvme, sha256. Parts under another rule are not added.';
COMMENT ON COLUMN archiver.uploads.size_bytes IS 'Size of the whole file at its source.';
COMMENT ON COLUMN archiver.uploads.validator IS
    'Strong ETag (quoted) or Last-Modified of the file at its source; NULL: its bytes cannot be joined with others.';
COMMENT ON COLUMN archiver.uploads.part_bytes IS 'Size of every part but the last.';
COMMENT ON COLUMN archiver.uploads.hash_state IS
    'State of SHA-256 and CRC64NVME after exactly the parts of archiver.upload_parts; NULL before the first checkpoint.';
COMMENT ON COLUMN archiver.uploads.checkpoint_at IS 'When the last checkpoint was written.';

ALTER TABLE archiver.uploads DROP CONSTRAINT uploads_pkey;
ALTER TABLE archiver.uploads ADD PRIMARY KEY (recording_id, upload_id);

CREATE TABLE archiver.upload_parts (
    recording_id uuid NOT NULL,
    upload_id    text NOT NULL,
    part_number  integer NOT NULL CHECK (part_number BETWEEN 1 AND 10000),
    size_bytes   bigint NOT NULL CHECK (size_bytes >= 0),
    crc64nvme    text NOT NULL,
    etag         text NOT NULL,
    sha256       text,
    PRIMARY KEY (recording_id, upload_id, part_number),
    FOREIGN KEY (recording_id, upload_id) REFERENCES archiver.uploads ON DELETE CASCADE
);
COMMENT ON TABLE archiver.upload_parts IS
    'The first parts of an unfinished upload, without a gap: the store has them, and archiver.uploads.hash_state has taken them in.';
COMMENT ON COLUMN archiver.upload_parts.recording_id IS 'The recording being uploaded.';
COMMENT ON COLUMN archiver.upload_parts.upload_id IS 'The upload.';
COMMENT ON COLUMN archiver.upload_parts.part_number IS 'From 1.';
COMMENT ON COLUMN archiver.upload_parts.size_bytes IS 'Size in bytes, as sent.';
COMMENT ON COLUMN archiver.upload_parts.crc64nvme IS 'CRC64NVME of the part, as sent, as S3 spells it (base64).';
COMMENT ON COLUMN archiver.upload_parts.etag IS 'What the store calls the part.';
COMMENT ON COLUMN archiver.upload_parts.sha256 IS 'SHA-256 of the part as the store gave it (base64), where that is what it verifies.';

ALTER TABLE archiver.recordings
    ADD COLUMN evidence_algorithm text,
    ADD COLUMN evidence_value     text,
    ADD CONSTRAINT evidence_algorithm_is_known
        CHECK (evidence_algorithm IN ('crc64nvme', 'sha256'));
COMMENT ON COLUMN archiver.recordings.evidence_algorithm IS
    'The checksums that the evidence rests on: crc64nvme or sha256.';
COMMENT ON COLUMN archiver.recordings.evidence_value IS
    'The checksum of the whole that was equal: crc64nvme in base64, sha256 in hex. NULL for parts, each of which had its own.';
COMMENT ON CONSTRAINT evidence_algorithm_is_known ON archiver.recordings IS 'See the column.';
