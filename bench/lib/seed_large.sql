-- Adds a chatroom with :files files to company 7, of which user 7 is a member.
BEGIN;
CREATE FUNCTION pg_temp.id(kind text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || number)::uuid $$;
INSERT INTO chatroom (company_id, id, created_at) VALUES (pg_temp.id('company', 7), md5('large')::uuid, now());
INSERT INTO member (company_id, id, chatroom_id, user_id, created_at, added_seq)
    VALUES (pg_temp.id('company', 7), md5('large member')::uuid, md5('large')::uuid, pg_temp.id('user', 7), now(), 1);
INSERT INTO file (id, company_id, chatroom_id, uploaded_by, original_name, mime_type, size_bytes, hash, storage_key,
        storage_bucket, is_processed, processing_status, created_at, updated_at, search_name)
    SELECT pg_temp.id('large', n), pg_temp.id('company', 7), md5('large')::uuid, pg_temp.id('user', n % 20 * 20 + 7),
        'note ' || n || '.pdf', 'application/pdf', 1000 + n, repeat('0', 64),
        'l/' || n, 'waybill', true, 'COMPLETED', now() - n * interval '1 second', now(), 'note ' || n || '.pdf'
    FROM generate_series(0, :files - 1) n;
INSERT INTO file_association (id, company_id, file_id, chatroom_id, shared_by, is_pinned, created_at, updated_at, shared_seq)
    SELECT pg_temp.id('large', n), pg_temp.id('company', 7), pg_temp.id('large', n), md5('large')::uuid,
        pg_temp.id('user', n % 20 * 20 + 7), false, now() - n * interval '1 second', now(), 1
    FROM generate_series(0, :files - 1) n;
COMMIT;
ANALYZE chatroom, member, file, file_association;
