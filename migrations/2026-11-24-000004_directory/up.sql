-- The whole data model: the directory, associations, download tokens, content that files have in common.
--
-- What hangs on something that has ended does not come back with it: a membership counts if it came behind the last
-- removal of its user and the last deletion of its place (`added_seq` and `removed_seq`, `deleted_seq`: positions in
-- the company's partition); an association likewise.

ALTER TABLE company
    ADD COLUMN max_file_bytes BIGINT,
    ADD COLUMN max_session_bytes BIGINT,
    ADD COLUMN allowed_mime_types JSONB,
    ADD COLUMN retention_days INTEGER,
    ADD COLUMN deleted_at TIMESTAMPTZ;

ALTER TABLE "user"
    ADD COLUMN deleted_at TIMESTAMPTZ,
    ADD COLUMN removed_seq BIGINT NOT NULL DEFAULT 0;

CREATE TABLE chatroom (
    company_id UUID NOT NULL REFERENCES company (id),
    id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    deleted_at TIMESTAMPTZ,
    deleted_seq BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (company_id, id)
);

CREATE TABLE thread (
    company_id UUID NOT NULL REFERENCES company (id),
    id UUID NOT NULL,
    chatroom_id UUID,
    created_at TIMESTAMPTZ NOT NULL,
    opened_seq BIGINT NOT NULL,
    deleted_at TIMESTAMPTZ,
    deleted_seq BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, chatroom_id) REFERENCES chatroom (company_id, id)
);

CREATE INDEX idx_thread_chatroom_id ON thread (company_id, chatroom_id);

-- A member of a chatroom or of a thread.
CREATE TABLE member (
    company_id UUID NOT NULL REFERENCES company (id),
    id UUID NOT NULL,
    chatroom_id UUID,
    thread_id UUID,
    user_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    added_seq BIGINT NOT NULL,
    removed_at TIMESTAMPTZ,
    PRIMARY KEY (company_id, id),
    CHECK ((chatroom_id IS NULL) <> (thread_id IS NULL)),
    FOREIGN KEY (company_id, chatroom_id) REFERENCES chatroom (company_id, id),
    FOREIGN KEY (company_id, thread_id) REFERENCES thread (company_id, id),
    FOREIGN KEY (company_id, user_id) REFERENCES "user" (company_id, id)
);

CREATE INDEX idx_member_user_id ON member (company_id, user_id) WHERE removed_at IS NULL;
CREATE INDEX idx_member_chatroom_id ON member (company_id, chatroom_id) WHERE removed_at IS NULL;
CREATE INDEX idx_member_thread_id ON member (company_id, thread_id) WHERE removed_at IS NULL;

ALTER TABLE file
    ADD COLUMN purged_at TIMESTAMPTZ,
    ADD FOREIGN KEY (company_id, chatroom_id) REFERENCES chatroom (company_id, id),
    ADD FOREIGN KEY (company_id, thread_id) REFERENCES thread (company_id, id);

-- What the sweep purges.
CREATE INDEX idx_file_purge ON file (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;

-- Searching by a piece of the name. The extension is one of the database, not of this schema, which may be dropped.
DO $$
DECLARE
    home TEXT;
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
    SELECT n.nspname INTO home FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm';
    EXECUTE format(
        'CREATE INDEX idx_file_name ON file USING gin (lower(coalesce(display_name, original_name)) %I.gin_trgm_ops)',
        home
    );
END
$$;

-- id is the file's where the file was uploaded into its chatroom or thread.
CREATE TABLE file_association (
    id UUID NOT NULL,
    company_id UUID NOT NULL,
    file_id UUID NOT NULL,
    chatroom_id UUID,
    thread_id UUID,
    shared_by UUID NOT NULL,
    access_type VARCHAR(20) NOT NULL DEFAULT 'PRIVATE' CHECK (access_type IN ('PUBLIC', 'PRIVATE', 'RESTRICTED')),
    permissions JSONB,
    expires_at TIMESTAMPTZ,
    is_pinned BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    shared_seq BIGINT NOT NULL,
    revoked_at TIMESTAMPTZ,
    PRIMARY KEY (company_id, id),
    CHECK (chatroom_id IS NOT NULL OR thread_id IS NOT NULL),
    FOREIGN KEY (company_id, file_id) REFERENCES file (company_id, id),
    FOREIGN KEY (company_id, chatroom_id) REFERENCES chatroom (company_id, id),
    FOREIGN KEY (company_id, thread_id) REFERENCES thread (company_id, id),
    FOREIGN KEY (company_id, shared_by) REFERENCES "user" (company_id, id)
);

CREATE INDEX idx_file_association_file_id ON file_association (file_id);
CREATE INDEX idx_file_association_chatroom_id ON file_association (chatroom_id);
CREATE INDEX idx_file_association_thread_id ON file_association (thread_id);
-- The order of a chatroom's and of a thread's files, pinned ones first: keyset cursors walk it.
CREATE INDEX idx_file_association_chatroom_listing
    ON file_association (company_id, chatroom_id, is_pinned DESC, created_at DESC, id DESC) WHERE revoked_at IS NULL;
CREATE INDEX idx_file_association_thread_listing
    ON file_association (company_id, thread_id, is_pinned DESC, created_at DESC, id DESC) WHERE revoked_at IS NULL;

-- A chatroom is one company's alone: without knowing that, the planner takes chatrooms for smaller than they are.
CREATE STATISTICS st_file_association_chatroom (dependencies) ON company_id, chatroom_id FROM file_association;
CREATE STATISTICS st_file_association_thread (dependencies) ON company_id, thread_id FROM file_association;

-- token is the SHA-256 of the token: nobody who reads the table can use one. max_downloads is NULL for any number.
CREATE TABLE download_token (
    id UUID NOT NULL,
    company_id UUID NOT NULL,
    file_id UUID NOT NULL,
    user_id UUID NOT NULL,
    token VARCHAR(255) NOT NULL UNIQUE,
    expires_at TIMESTAMPTZ NOT NULL,
    download_count INTEGER NOT NULL DEFAULT 0,
    max_downloads INTEGER DEFAULT 1,
    ip_address INET,
    user_agent TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    PRIMARY KEY (company_id, id),
    CHECK (download_count >= 0 AND (max_downloads IS NULL OR download_count <= max_downloads)),
    FOREIGN KEY (company_id, file_id) REFERENCES file (company_id, id),
    FOREIGN KEY (company_id, user_id) REFERENCES "user" (company_id, id)
);

CREATE INDEX idx_download_token_file_id ON download_token (file_id);
CREATE INDEX idx_download_token_user_id ON download_token (user_id);
CREATE INDEX idx_download_token_token ON download_token (token);
CREATE INDEX idx_download_token_expires_at ON download_token (expires_at);

-- Bytes that files of one company have in common. A storage key is unique within its bucket.
CREATE TABLE content (
    company_id UUID NOT NULL REFERENCES company (id),
    id UUID NOT NULL,
    hash VARCHAR(64) NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
    storage_bucket VARCHAR(100) NOT NULL,
    storage_key VARCHAR(500) NOT NULL,
    size_bytes BIGINT NOT NULL,
    reference_count INTEGER NOT NULL CHECK (reference_count >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (company_id, id),
    UNIQUE (storage_bucket, storage_key)
);
