DROP INDEX idx_quota_reservation_until;
ALTER TABLE quota_reservation ADD COLUMN settled BOOLEAN NOT NULL DEFAULT false;
CREATE INDEX idx_quota_reservation_until ON quota_reservation (reserved_until) WHERE NOT settled;
