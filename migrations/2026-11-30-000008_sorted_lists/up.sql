-- Orders of the lists of a user's files and of a company's files. Names are sorted by their first 128 characters, because an entry of an
-- index has a maximum size.
CREATE INDEX idx_file_own_listing ON file (company_id, uploaded_by, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX idx_file_own_name ON file (company_id, uploaded_by, left(search_name, 128) COLLATE "C", id) WHERE deleted_at IS NULL;
CREATE INDEX idx_file_own_size ON file (company_id, uploaded_by, size_bytes, id) WHERE deleted_at IS NULL;
CREATE INDEX idx_file_company_name ON file (company_id, left(search_name, 128) COLLATE "C", id) WHERE deleted_at IS NULL;
CREATE INDEX idx_file_company_size ON file (company_id, size_bytes, id) WHERE deleted_at IS NULL;
-- The next association of a chatroom or thread that expires: until then its list changes with events only.
CREATE INDEX idx_file_association_chatroom_expiry ON file_association (company_id, chatroom_id, expires_at)
    WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX idx_file_association_thread_expiry ON file_association (company_id, thread_id, expires_at)
    WHERE expires_at IS NOT NULL AND revoked_at IS NULL;
