-- Upload links, with which people without an account send files to a user.
CREATE TABLE upload_link (
    id UUID NOT NULL,
    company_id UUID NOT NULL REFERENCES company (id),
    user_id UUID NOT NULL,
    label VARCHAR(255),
    expires_at TIMESTAMPTZ NOT NULL,
    max_files INT NOT NULL,
    max_bytes BIGINT NOT NULL,
    max_file_bytes BIGINT,
    mime_types JSONB,
    chatroom_id UUID,
    thread_id UUID,
    ask_name BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, user_id) REFERENCES "user" (company_id, id)
);
CREATE INDEX upload_link_of_user ON upload_link (company_id, user_id, id);
CREATE INDEX upload_link_by_expiry ON upload_link (company_id, expires_at);
-- The upload link with which a file was sent.
ALTER TABLE file ADD COLUMN upload_link_id UUID;
CREATE INDEX file_of_upload_link ON file (company_id, upload_link_id, id) WHERE upload_link_id IS NOT NULL;
