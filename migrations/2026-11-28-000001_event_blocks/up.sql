-- The blocks of 256 messages of its partition in which a company has events; `id` is the block's number. By them the company's
-- events are found without a look at those of others.
CREATE TABLE event_block (
    company_id UUID NOT NULL,
    id UUID NOT NULL,
    PRIMARY KEY (company_id, id)
);
-- Events that were folded before have no blocks.
ALTER TABLE projection_checkpoint ADD COLUMN blocks_from BIGINT NOT NULL DEFAULT 0;
UPDATE projection_checkpoint SET blocks_from = seq;
