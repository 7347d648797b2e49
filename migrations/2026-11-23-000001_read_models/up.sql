-- Read models: every column is derived from events, so the tables can be dropped and rebuilt at any time (`waybill replay`).
-- Names have no schema: the tables are created in the first schema of the connection's search_path.

CREATE TABLE company (
    id UUID PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE "user" (
    company_id UUID NOT NULL REFERENCES company (id),
    id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (company_id, id)
);

-- hash, storage_key and storage_bucket are NULL until the file is verified. download_url is only filled in answers.
CREATE TABLE file (
    id UUID NOT NULL,
    company_id UUID NOT NULL REFERENCES company (id),
    thread_id UUID,
    chatroom_id UUID,
    uploaded_by UUID NOT NULL,
    original_name VARCHAR(255) NOT NULL,
    display_name VARCHAR(255),
    mime_type VARCHAR(100) NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    hash VARCHAR(64) CHECK (hash ~ '^[0-9a-f]{64}$'),
    storage_key VARCHAR(500),
    storage_bucket VARCHAR(100),
    download_url TEXT,
    metadata JSONB,
    is_processed BOOLEAN NOT NULL DEFAULT false,
    processing_status VARCHAR(20) NOT NULL DEFAULT 'PENDING'
        CHECK (processing_status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, uploaded_by) REFERENCES "user" (company_id, id)
) PARTITION BY HASH (company_id);

DO $$
BEGIN
    FOR i IN 0..15 LOOP
        EXECUTE format('CREATE TABLE file_p%s PARTITION OF file FOR VALUES WITH (MODULUS 16, REMAINDER %s)', i, i);
    END LOOP;
END
$$;

CREATE INDEX idx_file_company_id ON file (company_id);
CREATE INDEX idx_file_thread_id ON file (thread_id);
CREATE INDEX idx_file_chatroom_id ON file (chatroom_id);
CREATE INDEX idx_file_uploaded_by ON file (uploaded_by);
CREATE INDEX idx_file_hash ON file (hash);
CREATE INDEX idx_file_storage_key ON file (storage_key);
CREATE INDEX idx_file_created_at ON file (created_at);
CREATE INDEX idx_file_deleted_at ON file (deleted_at);
-- The order of listings, for keyset pagination.
CREATE INDEX idx_file_listing ON file (company_id, created_at DESC, id DESC);

CREATE TABLE upload_session (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL,
    company_id UUID NOT NULL REFERENCES company (id),
    session_name VARCHAR(255),
    total_files INTEGER NOT NULL DEFAULT 0,
    completed_files INTEGER NOT NULL DEFAULT 0,
    failed_files INTEGER NOT NULL DEFAULT 0,
    total_size BIGINT NOT NULL DEFAULT 0,
    uploaded_size BIGINT NOT NULL DEFAULT 0,
    status VARCHAR(20) NOT NULL DEFAULT 'ACTIVE'
        CHECK (status IN ('ACTIVE', 'COMPLETED', 'FAILED', 'CANCELLED')),
    is_closed BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    CHECK (completed_files + failed_files <= total_files),
    CHECK (uploaded_size BETWEEN 0 AND total_size),
    FOREIGN KEY (company_id, user_id) REFERENCES "user" (company_id, id)
);

CREATE INDEX idx_upload_session_user_id ON upload_session (user_id);
CREATE INDEX idx_upload_session_company_id ON upload_session (company_id);
CREATE INDEX idx_upload_session_status ON upload_session (status);

-- upload_session_id is NULL if the file was uploaded outside a session. `covered` contains the stored byte ranges, so that a
-- chunk that was stored twice counts once.
CREATE TABLE upload_progress (
    id UUID PRIMARY KEY,
    company_id UUID NOT NULL,
    upload_session_id UUID,
    file_id UUID NOT NULL,
    user_id UUID NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'PENDING'
        CHECK (status IN ('PENDING', 'UPLOADING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    progress_percentage INTEGER NOT NULL DEFAULT 0 CHECK (progress_percentage BETWEEN 0 AND 100),
    bytes_uploaded BIGINT NOT NULL DEFAULT 0,
    total_bytes BIGINT NOT NULL,
    upload_speed BIGINT NOT NULL DEFAULT 0,
    estimated_time_remaining INTEGER,
    current_chunk INTEGER NOT NULL DEFAULT 0,
    total_chunks INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error_message TEXT,
    started_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    last_updated_at TIMESTAMPTZ NOT NULL,
    last_stored_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ NOT NULL,
    part_size_bytes BIGINT NOT NULL,
    covered JSONB NOT NULL,
    applied_seq BIGINT NOT NULL,
    CHECK (bytes_uploaded BETWEEN 0 AND total_bytes),
    CHECK (current_chunk BETWEEN 0 AND total_chunks),
    FOREIGN KEY (company_id, file_id) REFERENCES file (company_id, id)
);

CREATE INDEX idx_upload_progress_session_id ON upload_progress (upload_session_id);
CREATE INDEX idx_upload_progress_file_id ON upload_progress (file_id);
CREATE INDEX idx_upload_progress_user_id ON upload_progress (user_id);
CREATE INDEX idx_upload_progress_status ON upload_progress (status);
-- For the sweep: uploads that have expired.
CREATE INDEX idx_upload_progress_expires_at ON upload_progress (expires_at)
    WHERE status IN ('PENDING', 'UPLOADING');

CREATE TABLE storage_quota (
    id UUID PRIMARY KEY,
    company_id UUID NOT NULL UNIQUE REFERENCES company (id),
    storage_limit_bytes BIGINT NOT NULL CHECK (storage_limit_bytes >= 0),
    storage_used_bytes BIGINT NOT NULL DEFAULT 0 CHECK (storage_used_bytes >= 0),
    storage_reserved_bytes BIGINT NOT NULL DEFAULT 0 CHECK (storage_reserved_bytes >= 0),
    file_count INTEGER NOT NULL DEFAULT 0 CHECK (file_count >= 0),
    last_calculated_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- Open reservations. A row is deleted when its reservation is settled.
CREATE TABLE quota_reservation (
    upload_id UUID PRIMARY KEY,
    company_id UUID NOT NULL REFERENCES company (id),
    upload_session_id UUID,
    bytes_total BIGINT NOT NULL,
    reserved_until TIMESTAMPTZ NOT NULL,
    settled BOOLEAN NOT NULL DEFAULT false
);

CREATE INDEX idx_quota_reservation_until ON quota_reservation (reserved_until) WHERE NOT settled;

-- How far each partition of the log is folded, and by which projector.
CREATE TABLE projection_checkpoint (
    partition INTEGER PRIMARY KEY,
    epoch TEXT NOT NULL,
    seq BIGINT NOT NULL,
    lease_owner UUID,
    lease_until TIMESTAMPTZ
);

-- Messages that could not be folded, and later messages of the same aggregates, which wait for them.
CREATE TABLE parked_event (
    partition INTEGER NOT NULL,
    seq BIGINT NOT NULL,
    subject TEXT NOT NULL,
    aggregate TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (partition, seq)
);

CREATE INDEX idx_parked_event_aggregate ON parked_event (aggregate);
