-- Labels of files, as users see them, and as searches find them: each with the company before it.
ALTER TABLE file ADD COLUMN labels JSONB, ADD COLUMN terms JSONB;
