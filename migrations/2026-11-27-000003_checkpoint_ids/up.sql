-- Message id of the event at the checkpoint. A different id in the stream shows that the stream was restored from a copy and has
-- received other events since.
ALTER TABLE projection_checkpoint ADD COLUMN last_id TEXT NOT NULL DEFAULT '';
