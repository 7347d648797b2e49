-- The running workers. Each sweeps an equal share of the candidates.
CREATE TABLE sweeper (
    id UUID PRIMARY KEY,
    alive_until TIMESTAMPTZ NOT NULL
);
