DROP INDEX file_of_upload_link;
ALTER TABLE file DROP COLUMN upload_link_id;
DROP TABLE upload_link;
