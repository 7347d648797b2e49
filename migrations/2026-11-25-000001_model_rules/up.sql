-- The uploader of an upload's progress is a user of the company, as the uploader of its file is.
ALTER TABLE upload_progress ADD FOREIGN KEY (company_id, user_id) REFERENCES "user" (company_id, id);
