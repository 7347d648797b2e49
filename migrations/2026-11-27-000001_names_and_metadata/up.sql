-- Names are searched for as Waybill folds them (domain/name.rs), not as the database's locale does; metadata are given
-- back as they came: jsonb writes numbers in another way. Rows of before get what comes close to it; a rebuild gives
-- them what they should have.
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
