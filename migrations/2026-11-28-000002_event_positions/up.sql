-- Positions of a company's events in its partition. `id` is the number of a block of 64 messages. Bit n of `events` is set if
-- message n of the block belongs to the company. The table has a new name so that an older gateway fails instead of reading
-- it wrongly. Events that were folded before this migration count as folded by an older version.
UPDATE projection_checkpoint SET blocks_from = seq;
DROP TABLE event_block;
CREATE TABLE event_positions (
    company_id UUID NOT NULL,
    id UUID NOT NULL,
    events BIGINT NOT NULL,
    PRIMARY KEY (company_id, id)
);
