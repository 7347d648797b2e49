DROP TABLE file_read;
DROP INDEX file_to_archive;
ALTER TABLE company DROP COLUMN archive_after_days;
ALTER TABLE file DROP COLUMN restore_requested_at;
ALTER TABLE file DROP COLUMN storage_tier;
