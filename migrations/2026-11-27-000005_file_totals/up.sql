-- Number and bytes of each company's files, derived from the events of the files, so that a quota can be recalculated without
-- reading each file. Purged files count as releasing until the events of the quota release their bytes.
CREATE TABLE file_total (
    company_id UUID PRIMARY KEY REFERENCES company (id),
    file_bytes BIGINT NOT NULL,
    file_count BIGINT NOT NULL,
    releasing_bytes BIGINT NOT NULL,
    releasing_count BIGINT NOT NULL,
    last_purged_at TIMESTAMPTZ
);
INSERT INTO file_total
    SELECT q.company_id, coalesce(n.bytes, 0), coalesce(n.files, 0), 0, 0, n.purged_at
    FROM storage_quota q
    LEFT JOIN (
        SELECT company_id, (sum(size_bytes) FILTER (WHERE purged_at IS NULL))::bigint AS bytes,
               count(*) FILTER (WHERE purged_at IS NULL) AS files, max(purged_at) AS purged_at
        FROM file WHERE is_processed GROUP BY company_id
    ) n ON n.company_id = q.company_id
    WHERE n.company_id IS NOT NULL;
-- The primary key finds the open reservations of one company.
ALTER TABLE quota_reservation DROP CONSTRAINT quota_reservation_pkey, ADD PRIMARY KEY (company_id, upload_id);
-- For the sweep: companies whose quota has changed since it was last recalculated.
CREATE INDEX idx_storage_quota_last_calculated_at ON storage_quota (last_calculated_at, company_id)
    WHERE updated_at > last_calculated_at;
-- A restored file is kept for another retention period.
ALTER TABLE file ADD COLUMN restored_at TIMESTAMPTZ;
