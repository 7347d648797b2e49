DROP INDEX idx_file_terms;
ALTER TABLE file DROP COLUMN labels;
