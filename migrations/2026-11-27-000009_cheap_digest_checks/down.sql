ALTER TABLE file DROP CONSTRAINT file_hash_check;
ALTER TABLE file ADD CONSTRAINT file_hash_check CHECK (hash ~ '^[0-9a-f]{64}$');
ALTER TABLE content DROP CONSTRAINT content_hash_check;
ALTER TABLE content ADD CONSTRAINT content_hash_check CHECK (hash ~ '^[0-9a-f]{64}$');
