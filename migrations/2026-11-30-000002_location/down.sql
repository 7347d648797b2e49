DROP INDEX file_with_location;
ALTER TABLE company DROP COLUMN strip_location;
ALTER TABLE file DROP COLUMN location;
