-- What each store was last seen to enforce, so that one that gets worse is noticed.

CREATE TABLE archiver.store_probes (
    store                text PRIMARY KEY,
    probed_at            timestamptz NOT NULL DEFAULT now(),
    probed_by            text NOT NULL,
    checksum             text NOT NULL,
    evidence             text NOT NULL,
    evidence_reason      text,
    put_crc64nvme        boolean,
    put_sha256           boolean,
    part_crc64nvme       boolean,
    part_sha256          boolean,
    create_only          boolean NOT NULL,
    complete_create_only boolean NOT NULL,
    object_checksum      boolean,
    object_size          boolean NOT NULL,
    lists_uploads        boolean NOT NULL,
    lists_parts          boolean NOT NULL,
    aborts_uploads       boolean NOT NULL,
    keeps_metadata       boolean NOT NULL
);
COMMENT ON TABLE archiver.store_probes IS
    'What each bucket was last seen to do with throw-away objects, by the service at its start or by `doctor`. One row per store.';
COMMENT ON COLUMN archiver.store_probes.store IS 'storage.url: bucket and prefix.';
COMMENT ON COLUMN archiver.store_probes.probed_at IS 'When these findings were written down.';
COMMENT ON COLUMN archiver.store_probes.probed_by IS 'Host and process that probed.';
COMMENT ON COLUMN archiver.store_probes.checksum IS 'storage.checksum there: auto, crc64nvme, sha256 or none. It decides what is asked.';
COMMENT ON COLUMN archiver.store_probes.evidence IS 'By what objects are proven from then on: full_object, parts or read_back.';
COMMENT ON COLUMN archiver.store_probes.evidence_reason IS 'Why by nothing stronger; NULL if that is full_object.';
COMMENT ON COLUMN archiver.store_probes.put_crc64nvme IS 'Takes a right CRC64NVME of a PUT and refuses a wrong one; NULL if not asked.';
COMMENT ON COLUMN archiver.store_probes.put_sha256 IS 'The same of SHA-256.';
COMMENT ON COLUMN archiver.store_probes.part_crc64nvme IS 'Takes a right CRC64NVME of a part and refuses a wrong one; NULL if not asked.';
COMMENT ON COLUMN archiver.store_probes.part_sha256 IS 'The same of SHA-256.';
COMMENT ON COLUMN archiver.store_probes.create_only IS 'Refuses to write over an object by a PUT that is to create only.';
COMMENT ON COLUMN archiver.store_probes.complete_create_only IS 'Refuses to write over an object by a multipart upload that is to create only.';
COMMENT ON COLUMN archiver.store_probes.object_checksum IS 'Refuses a wrong CRC64NVME of the whole of a multipart upload, and says the right one afterwards; NULL if not asked.';
COMMENT ON COLUMN archiver.store_probes.object_size IS 'Refuses a wrong size of the whole of a multipart upload.';
COMMENT ON COLUMN archiver.store_probes.lists_uploads IS 'Lists an upload that is begun.';
COMMENT ON COLUMN archiver.store_probes.lists_parts IS 'Lists the part of an upload.';
COMMENT ON COLUMN archiver.store_probes.aborts_uploads IS 'Forgets an upload that is aborted.';
COMMENT ON COLUMN archiver.store_probes.keeps_metadata IS 'Gives an object back with the metadata that it was stored with.';
