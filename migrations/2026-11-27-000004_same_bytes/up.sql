-- Finds the files of a company with the same bytes. Its cost does not depend on files of other companies.
CREATE INDEX idx_file_same_bytes ON file (company_id, hash) WHERE is_processed AND purged_at IS NULL;
