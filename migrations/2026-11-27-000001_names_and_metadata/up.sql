-- search_name is the name as Waybill folds it for searches (domain/name.rs); the locale of the database would fold it
-- differently. metadata_text keeps the metadata as the client sent them, because jsonb changes the notation of numbers. Existing
-- rows get approximate values. A rebuild corrects them.
ALTER TABLE file
    ADD COLUMN search_name TEXT NOT NULL DEFAULT '',
    ADD COLUMN metadata_text TEXT;
UPDATE file SET search_name = lower(coalesce(display_name, original_name)), metadata_text = metadata::text;

DROP INDEX idx_file_name;
DO $$
DECLARE
    home TEXT;
BEGIN
    SELECT n.nspname INTO home FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm';
    EXECUTE format('CREATE INDEX idx_file_name ON file USING gin (search_name %I.gin_trgm_ops)', home);
END
$$;
