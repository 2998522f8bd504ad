-- States which programs work on this schema, so that a host that is not upgraded yet goes on working.

-- A migration that removes or renames something raises the number to its own (CREATE OR REPLACE VIEW); one
-- that only adds leaves it.
CREATE VIEW archiver.oldest_program AS SELECT 22::bigint AS migration;
COMMENT ON VIEW archiver.oldest_program IS 'Programs that know this migration, or a later one, work on this schema.';
COMMENT ON COLUMN archiver.oldest_program.migration IS 'Number of a file in migrations/.';
