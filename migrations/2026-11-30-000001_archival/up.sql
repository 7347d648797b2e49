-- Storage tier of the object of a file: hot, cold or archive.
ALTER TABLE file ADD COLUMN storage_tier VARCHAR(20) NOT NULL DEFAULT 'hot';
-- Time at which somebody asked for the bytes of an archived file; NULL if nobody did, or after they are in the hot tier again.
ALTER TABLE file ADD COLUMN restore_requested_at TIMESTAMPTZ;
-- Number of days after which a file that nobody reads is archived.
ALTER TABLE company ADD COLUMN archive_after_days INTEGER;
UPDATE company SET limits = limits || '{"archive_after_days": null}' WHERE limits IS NOT NULL;
-- Files that can be archived. Smaller files would cost more in an archive.
CREATE INDEX file_to_archive ON file (company_id, id)
    WHERE storage_tier = 'hot' AND is_processed AND purged_at IS NULL AND deleted_at IS NULL AND size_bytes >= 131072;
-- Time of the last read of a file, at most an hour too early. The gateways write it. It is not in the log.
CREATE TABLE file_read (
    company_id UUID NOT NULL,
    file_id UUID NOT NULL,
    read_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (company_id, file_id)
);
