-- The rest of the data model: the directory, associations, download tokens, and content that several files share.
--
-- Creating a user, chatroom or thread again does not restore its previous memberships and associations. A membership is valid
-- only if it was added after the latest removal of its user and the latest deletion of its chatroom or thread. An association is
-- valid only if it was created after the latest deletion of its chatroom or thread. `added_seq`, `shared_seq`, `removed_seq`
-- and `deleted_seq` are sequences in the company's partition.

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

-- Members of chatrooms and threads.
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

-- For the sweep: files to purge.
CREATE INDEX idx_file_purge ON file (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;

-- Search by a part of the name. The extension belongs to the database and not to this schema, because the schema can be dropped.
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

-- If the file was uploaded into the chatroom or thread, id is the id of the file.
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
-- The order of the files of a chatroom or thread, pinned files first, for keyset pagination.
CREATE INDEX idx_file_association_chatroom_listing
    ON file_association (company_id, chatroom_id, is_pinned DESC, created_at DESC, id DESC) WHERE revoked_at IS NULL;
CREATE INDEX idx_file_association_thread_listing
    ON file_association (company_id, thread_id, is_pinned DESC, created_at DESC, id DESC) WHERE revoked_at IS NULL;

-- A chatroom or thread belongs to exactly one company. Without these statistics the planner underestimates the number of rows.
CREATE STATISTICS st_file_association_chatroom (dependencies) ON company_id, chatroom_id FROM file_association;
CREATE STATISTICS st_file_association_thread (dependencies) ON company_id, thread_id FROM file_association;

-- token is the SHA-256 of the token, so that readers of the table cannot use it. max_downloads is NULL if it is unlimited.
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

-- Objects that several files of a company with equal digests refer to. A storage key is unique within its bucket.
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
