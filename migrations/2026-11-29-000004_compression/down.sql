DROP TABLE compressor;
DROP INDEX file_to_compress;
ALTER TABLE content DROP COLUMN stored_bytes;
ALTER TABLE file DROP COLUMN stored_bytes;
