DROP INDEX idx_file_terms;
