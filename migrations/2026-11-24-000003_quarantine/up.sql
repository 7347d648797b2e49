-- Until when the client may make the object by itself; NULL where it may not, or what it left is deleted.
ALTER TABLE upload_progress ADD COLUMN quarantine_until TIMESTAMPTZ;
CREATE INDEX idx_upload_progress_quarantine_until ON upload_progress (quarantine_until)
    WHERE quarantine_until IS NOT NULL;

-- So that what is cancelled with its session is found.
ALTER TABLE partial_upload ADD COLUMN upload_session_id UUID;
CREATE INDEX idx_partial_upload_session_id ON partial_upload (upload_session_id) WHERE NOT has_ended;
