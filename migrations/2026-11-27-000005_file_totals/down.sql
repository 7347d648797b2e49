ALTER TABLE file DROP COLUMN restored_at;
DROP INDEX idx_storage_quota_last_calculated_at;
ALTER TABLE quota_reservation DROP CONSTRAINT quota_reservation_pkey, ADD PRIMARY KEY (upload_id);
DROP TABLE file_total;
