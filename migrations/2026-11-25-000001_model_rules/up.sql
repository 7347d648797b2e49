-- The user of an upload must belong to the company, like the uploader of its file.
ALTER TABLE upload_progress ADD FOREIGN KEY (company_id, user_id) REFERENCES "user" (company_id, id);
