UPDATE projection_checkpoint SET blocks_from = seq;
DROP TABLE event_positions;
CREATE TABLE event_block (
    company_id UUID NOT NULL,
    id UUID NOT NULL,
    PRIMARY KEY (company_id, id)
);
