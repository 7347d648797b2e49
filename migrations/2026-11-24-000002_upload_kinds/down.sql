ALTER TABLE upload_progress DROP COLUMN length_deferred;
DROP TABLE partial_upload;
