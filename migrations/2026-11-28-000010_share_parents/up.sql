-- The association that let the user share the file. NULL if the user needed none, or if the event does not tell.
ALTER TABLE file_association ADD COLUMN parent_id UUID;
