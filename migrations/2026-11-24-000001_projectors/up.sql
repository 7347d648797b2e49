-- Which projectors are alive: each takes its fair share of the partitions.
CREATE TABLE projector (
    id UUID PRIMARY KEY,
    alive_until TIMESTAMPTZ NOT NULL
);
