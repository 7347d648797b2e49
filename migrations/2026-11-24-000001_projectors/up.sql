-- The running projectors. Each takes a fair share of the partitions.
CREATE TABLE projector (
    id UUID PRIMARY KEY,
    alive_until TIMESTAMPTZ NOT NULL
);
