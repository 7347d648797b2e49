ALTER TABLE projection_checkpoint DROP COLUMN last_id;
