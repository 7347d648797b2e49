ALTER TABLE "user" DROP COLUMN tokens_valid_from;
ALTER TABLE company DROP COLUMN tokens_valid_from;
ALTER TABLE company DROP COLUMN min_retention_days;
ALTER TABLE company DROP COLUMN limits;
ALTER TABLE company DROP COLUMN link_max_downloads;
ALTER TABLE company DROP COLUMN link_max_age_s;
