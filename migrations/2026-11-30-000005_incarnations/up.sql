-- The incarnation of the rows of a partition. It changes whenever rows change without an event: if they are built again, put right, or
-- parked events are folded. Rows that were kept elsewhere are not used after that.
ALTER TABLE projection_checkpoint ADD COLUMN incarnation UUID NOT NULL DEFAULT gen_random_uuid();
