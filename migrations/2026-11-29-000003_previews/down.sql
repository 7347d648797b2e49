DROP INDEX file_without_preview;
ALTER TABLE file DROP COLUMN preview;
