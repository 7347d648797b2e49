-- Settled reservations no longer have a row.
DROP INDEX idx_quota_reservation_until;
DELETE FROM quota_reservation WHERE settled;
ALTER TABLE quota_reservation DROP COLUMN settled;
CREATE INDEX idx_quota_reservation_until ON quota_reservation (reserved_until);
