-- Where in its partition a company has events: `id` is the number of a block of 64 messages, and bit n of `events` is set if the
-- block's message n is the company's. Another table than before, so that an older gateway fails rather than reads it wrongly.
-- Events that were folded before count as folded by an older version.
UPDATE projection_checkpoint SET blocks_from = seq;
DROP TABLE event_block;
CREATE TABLE event_positions (
    company_id UUID NOT NULL,
    id UUID NOT NULL,
    events BIGINT NOT NULL,
    PRIMARY KEY (company_id, id)
);
