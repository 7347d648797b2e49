-- Fills the tables of the read model with :files files in :chatrooms chatrooms of 20 companies.
-- Only for measurements of queries: the log has no events for these rows.
BEGIN;
CREATE FUNCTION pg_temp.id(kind text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || number)::uuid $$;
INSERT INTO company (id, created_at) SELECT pg_temp.id('company', n), now() FROM generate_series(0, 19) n;
INSERT INTO "user" (company_id, id, created_at)
    SELECT pg_temp.id('company', n % 20), pg_temp.id('user', n), now() FROM generate_series(0, 399) n;
INSERT INTO chatroom (company_id, id, created_at)
    SELECT pg_temp.id('company', n % 20), pg_temp.id('chatroom', n), now() FROM generate_series(0, :chatrooms - 1) n;
INSERT INTO member (company_id, id, chatroom_id, user_id, created_at, added_seq)
    SELECT pg_temp.id('company', n % 20), pg_temp.id('member', n * 400 + u), pg_temp.id('chatroom', n),
        pg_temp.id('user', u), now(), 1
    FROM generate_series(0, :chatrooms - 1) n, generate_series(n % 20, 399, 20) u;
INSERT INTO file (id, company_id, chatroom_id, uploaded_by, original_name, mime_type, size_bytes, hash, storage_key,
        storage_bucket, is_processed, processing_status, created_at, updated_at, search_name)
    SELECT pg_temp.id('file', n), pg_temp.id('company', n % 20), pg_temp.id('chatroom', n % :chatrooms),
        pg_temp.id('user', n % 400), 'report ' || n || '.pdf', 'application/pdf', 1000 + n, repeat('0', 64),
        'o/' || n, 'waybill', true, 'COMPLETED', now() - n * interval '1 second', now(), 'report ' || n || '.pdf'
    FROM generate_series(0, :files - 1) n;
INSERT INTO file_association (id, company_id, file_id, chatroom_id, shared_by, is_pinned, created_at, updated_at, shared_seq)
    SELECT pg_temp.id('file', n), pg_temp.id('company', n % 20), pg_temp.id('file', n),
        pg_temp.id('chatroom', n % :chatrooms), pg_temp.id('user', n % 400), n % 997 = 0,
        now() - n * interval '1 second', now(), 1
    FROM generate_series(0, :files - 1) n;
COMMIT;
ANALYZE company, "user", chatroom, member, file, file_association;
