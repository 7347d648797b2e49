ALTER TABLE file DROP COLUMN released_at;
ALTER TABLE file DROP COLUMN scan;
ALTER TABLE file DROP COLUMN scan_verdict;
ALTER TABLE company DROP COLUMN unscanned;
ALTER TABLE company DROP COLUMN scan;
