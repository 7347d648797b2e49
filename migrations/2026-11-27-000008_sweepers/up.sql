-- Which workers are alive: each sweeps its share of what is due.
CREATE TABLE sweeper (
    id UUID PRIMARY KEY,
    alive_until TIMESTAMPTZ NOT NULL
);
