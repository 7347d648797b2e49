-- Number of bytes that the object of a file takes in the store; NULL until compression was considered. It is the size of the file
-- if compression would gain too little.
ALTER TABLE file ADD COLUMN stored_bytes BIGINT;
ALTER TABLE content ADD COLUMN stored_bytes BIGINT;
-- Files whose compression was not considered yet. The types are those that are compressed already.
CREATE INDEX file_to_compress ON file (company_id, id)
    WHERE stored_bytes IS NULL AND is_processed AND purged_at IS NULL AND deleted_at IS NULL AND size_bytes >= 65536
    AND mime_type NOT LIKE 'video/%' AND mime_type NOT IN (
        'application/epub+zip', 'application/gzip', 'application/java-archive', 'application/pdf',
        'application/vnd.android.package-archive', 'application/vnd.oasis.opendocument.presentation',
        'application/vnd.oasis.opendocument.spreadsheet', 'application/vnd.oasis.opendocument.text',
        'application/vnd.openxmlformats-officedocument.presentationml.presentation',
        'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
        'application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'application/vnd.rar',
        'application/x-7z-compressed', 'application/x-bzip2', 'application/x-lz4', 'application/x-xz', 'application/zip',
        'application/zstd', 'audio/aac', 'audio/flac', 'audio/mp4', 'audio/mpeg', 'audio/ogg', 'audio/opus', 'audio/webm',
        'font/woff', 'font/woff2', 'image/avif', 'image/gif', 'image/heic', 'image/jpeg', 'image/jxl', 'image/png',
        'image/webp'
    );
-- The running processes with the role content. Each compresses an equal share of the files.
CREATE TABLE compressor (
    id UUID PRIMARY KEY,
    alive_until TIMESTAMPTZ NOT NULL
);
