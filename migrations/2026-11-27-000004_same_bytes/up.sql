-- Which files of a company have the same bytes, however many of other companies have them.
CREATE INDEX idx_file_same_bytes ON file (company_id, hash) WHERE is_processed AND purged_at IS NULL;
