-- For the list of a company's download tokens, newest first.
CREATE INDEX idx_download_token_listing ON download_token (company_id, created_at DESC, id DESC);
