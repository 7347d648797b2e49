-- Result of removing the metadata of a file; NULL before that.
ALTER TABLE file ADD COLUMN location JSONB;
-- Policy for metadata in pictures: off or for_others.
ALTER TABLE company ADD COLUMN strip_location VARCHAR(20);
UPDATE company SET limits = limits || '{"strip_location": null}' WHERE limits IS NOT NULL;
-- Pictures, documents and videos whose metadata was not looked at.
CREATE INDEX file_with_location ON file (company_id, id)
    WHERE location IS NULL AND is_processed AND purged_at IS NULL AND deleted_at IS NULL AND storage_tier <> 'archive'
    AND (preview IS NOT NULL OR mime_type LIKE 'image/%' OR mime_type LIKE 'video/%');
