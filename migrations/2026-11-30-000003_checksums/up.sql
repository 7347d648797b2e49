-- CRC-32 of the bytes of a file, and of those without metadata; NULL if it is not known.
ALTER TABLE file ADD COLUMN crc32 BIGINT, ADD COLUMN plain_crc32 BIGINT;
