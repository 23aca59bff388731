-- migrate: no-transaction
CREATE INDEX CONCURRENTLY frames_created_at ON frames (created_at);
