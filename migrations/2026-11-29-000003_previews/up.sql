-- Previews of a file: a JSON object with the id of the set, the variants, the ThumbHash and facts about the content, or with the
-- reason why there are no previews.
ALTER TABLE file ADD COLUMN preview JSONB;
