-- Previews of a file: a JSON object with the id of the set, the variants, the ThumbHash and facts about the content, or with the
-- reason why there are no previews.
ALTER TABLE file ADD COLUMN preview JSONB;
-- Pictures and documents that became readable without an event, for example by a changed policy for virus scans.
CREATE INDEX file_without_preview ON file (company_id, id)
    WHERE preview IS NULL AND is_processed AND purged_at IS NULL AND deleted_at IS NULL
    AND mime_type IN ('application/pdf', 'image/gif', 'image/jpeg', 'image/png', 'image/webp');
