-- Virus scans: the policies of a company, and the last scan of a file. `file.scan` is a JSON object with the result, the scanner,
-- the version of its signatures, the number of scanned bytes, the time of the scan, and who released the file.
ALTER TABLE company ADD COLUMN scan VARCHAR(20);
ALTER TABLE company ADD COLUMN unscanned VARCHAR(20);
ALTER TABLE file ADD COLUMN scan_verdict VARCHAR(20);
ALTER TABLE file ADD COLUMN scan JSONB;
ALTER TABLE file ADD COLUMN released_at TIMESTAMPTZ;
