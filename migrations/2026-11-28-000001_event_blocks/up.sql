-- Blocks of 256 messages of a partition in which a company has events. `id` is the number of the block. The blocks locate the
-- events of a company without reading the events of other companies.
CREATE TABLE event_block (
    company_id UUID NOT NULL,
    id UUID NOT NULL,
    PRIMARY KEY (company_id, id)
);
-- Events that were folded before this migration have no blocks.
ALTER TABLE projection_checkpoint ADD COLUMN blocks_from BIGINT NOT NULL DEFAULT 0;
UPDATE projection_checkpoint SET blocks_from = seq;
