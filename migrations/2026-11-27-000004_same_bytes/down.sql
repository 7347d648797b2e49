DROP INDEX idx_file_same_bytes;
