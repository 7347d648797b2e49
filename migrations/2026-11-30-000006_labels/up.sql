-- Labels of files, and searches by label and by metadata.
ALTER TABLE file ADD COLUMN labels JSONB;
-- The extension puts the company into the index, so that a search does not read the entries of other companies. It belongs to the
-- database and not to this schema, because the schema can be dropped.
CREATE EXTENSION IF NOT EXISTS btree_gin WITH SCHEMA public;
CREATE INDEX idx_file_terms ON file USING gin (company_id, labels jsonb_path_ops, metadata jsonb_path_ops)
    WHERE labels IS NOT NULL OR metadata IS NOT NULL;
