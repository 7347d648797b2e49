DROP TABLE event_block;
ALTER TABLE projection_checkpoint DROP COLUMN blocks_from;
