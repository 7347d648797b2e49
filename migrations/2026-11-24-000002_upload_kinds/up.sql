-- Partial uploads (tus 1.0, Concatenation): they become no file of their own, so that they have no row in `file`.
CREATE TABLE partial_upload (
    id UUID PRIMARY KEY,
    company_id UUID NOT NULL REFERENCES company (id),
    uploaded_by UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    has_ended BOOLEAN NOT NULL DEFAULT false
);

-- What the sweep looks for.
CREATE INDEX idx_partial_upload_expires_at ON partial_upload (expires_at) WHERE NOT has_ended;

-- While the length is still to come, total_bytes is what is stored.
ALTER TABLE upload_progress ADD COLUMN length_deferred BOOLEAN NOT NULL DEFAULT false;
