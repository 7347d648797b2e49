ALTER TABLE file_association DROP COLUMN parent_id;
