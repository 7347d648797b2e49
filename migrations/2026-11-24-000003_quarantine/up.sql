-- The time until which the client can write the object directly to the store. NULL if the client cannot do so, or after the
-- remains of the upload were deleted.
ALTER TABLE upload_progress ADD COLUMN quarantine_until TIMESTAMPTZ;
CREATE INDEX idx_upload_progress_quarantine_until ON upload_progress (quarantine_until)
    WHERE quarantine_until IS NOT NULL;

-- For canceling the partial uploads of a session.
ALTER TABLE partial_upload ADD COLUMN upload_session_id UUID;
CREATE INDEX idx_partial_upload_session_id ON partial_upload (upload_session_id) WHERE NOT has_ended;
