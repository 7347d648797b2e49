DROP TABLE content, download_token, file_association, member;
DROP INDEX idx_file_name, idx_file_purge;
ALTER TABLE file
    DROP CONSTRAINT file_company_id_chatroom_id_fkey,
    DROP CONSTRAINT file_company_id_thread_id_fkey,
    DROP COLUMN purged_at;
DROP TABLE thread, chatroom;
ALTER TABLE "user" DROP COLUMN removed_seq, DROP COLUMN deleted_at;
ALTER TABLE company
    DROP COLUMN max_file_bytes,
    DROP COLUMN max_session_bytes,
    DROP COLUMN allowed_mime_types,
    DROP COLUMN retention_days,
    DROP COLUMN deleted_at;
