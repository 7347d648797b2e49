-- Where a company's events stand in its partition: in which blocks of 256 messages it has any. `id` is the block's number, with
-- which the company's events are found without a look at those of others.
CREATE TABLE event_block (
    company_id UUID NOT NULL,
    id UUID NOT NULL,
    PRIMARY KEY (company_id, id)
);
-- What was folded before has no blocks.
ALTER TABLE projection_checkpoint ADD COLUMN blocks_from BIGINT NOT NULL DEFAULT 0;
UPDATE projection_checkpoint SET blocks_from = seq;
