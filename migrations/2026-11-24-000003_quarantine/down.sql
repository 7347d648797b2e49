ALTER TABLE partial_upload DROP COLUMN upload_session_id;
ALTER TABLE upload_progress DROP COLUMN quarantine_until;
