-- Limits that the host product sets for a company, as JSON, rules for download links, and the times before which tokens are
-- invalid.
ALTER TABLE company ADD COLUMN link_max_age_s BIGINT;
ALTER TABLE company ADD COLUMN link_max_downloads BIGINT;
ALTER TABLE company ADD COLUMN limits JSONB;
ALTER TABLE company ADD COLUMN min_retention_days INTEGER;
ALTER TABLE company ADD COLUMN tokens_valid_from TIMESTAMPTZ;
ALTER TABLE "user" ADD COLUMN tokens_valid_from TIMESTAMPTZ;
