TRUNCATE event_block;
ALTER TABLE event_block DROP COLUMN events;
UPDATE projection_checkpoint SET blocks_from = seq;
