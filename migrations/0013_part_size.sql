-- Whether parts of the size that uploads send get through: a proxy before the store may not let them.

ALTER TABLE archiver.store_probes
    ADD COLUMN part_size_bytes bigint CHECK (part_size_bytes > 0),
    ADD COLUMN takes_part_size boolean,
    ADD CONSTRAINT a_size_has_its_answer CHECK ((part_size_bytes IS NULL) = (takes_part_size IS NULL));
COMMENT ON COLUMN archiver.store_probes.part_size_bytes IS
    'storage.part_size of the last service or `doctor` that was told whether parts of that size are taken; NULL: none yet.';
COMMENT ON COLUMN archiver.store_probes.takes_part_size IS 'Whether they are.';
