-- By the message id of the event there, a stream that was restored from a copy and went on is told from the one before.
ALTER TABLE projection_checkpoint ADD COLUMN last_id TEXT NOT NULL DEFAULT '';
