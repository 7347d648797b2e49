-- Partial uploads (tus 1.0, Concatenation). They do not become files, so they have no row in `file`.
CREATE TABLE partial_upload (
    id UUID PRIMARY KEY,
    company_id UUID NOT NULL REFERENCES company (id),
    uploaded_by UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    has_ended BOOLEAN NOT NULL DEFAULT false
);

-- For the sweep: partial uploads that have expired.
CREATE INDEX idx_partial_upload_expires_at ON partial_upload (expires_at) WHERE NOT has_ended;

-- While the length of an upload is unknown, total_bytes is the number of stored bytes.
ALTER TABLE upload_progress ADD COLUMN length_deferred BOOLEAN NOT NULL DEFAULT false;
