-- From version 1 to 2: what is dropped is remembered.
ALTER TABLE feeds ADD COLUMN envelopes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feeds ADD COLUMN base INTEGER NOT NULL DEFAULT 1;
UPDATE feeds SET envelopes = (SELECT count(*) FROM envelopes WHERE envelopes.feed = feeds.id);
CREATE TABLE gaps (
  first INTEGER PRIMARY KEY,
  last INTEGER NOT NULL,
  posts INTEGER NOT NULL,
  oldest_ms INTEGER NOT NULL,
  newest_ms INTEGER NOT NULL
) STRICT;
