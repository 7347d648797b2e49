-- Which messages of the block are the company's: bit n is set if the block's message n is. A block has 64 messages now, and what
-- is known of blocks of 256 is given up: those events count as folded by an older version.
TRUNCATE event_block;
ALTER TABLE event_block ADD COLUMN events BIGINT NOT NULL;
UPDATE projection_checkpoint SET blocks_from = seq;
