-- Searches by label. A migration of its own, so that reads continue while the index is built.
CREATE INDEX idx_file_terms ON file USING gin (terms jsonb_path_ops) WHERE terms IS NOT NULL AND deleted_at IS NULL;
