DROP INDEX idx_file_name;
ALTER TABLE file DROP COLUMN search_name, DROP COLUMN metadata_text;
DO $$
DECLARE
    home TEXT;
BEGIN
    SELECT n.nspname INTO home FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm';
    EXECUTE format(
        'CREATE INDEX idx_file_name ON file USING gin (lower(coalesce(display_name, original_name)) %I.gin_trgm_ops)',
        home
    );
END
$$;
