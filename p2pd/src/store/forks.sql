-- Places where a feed parts, with the two envelopes that prove it.
CREATE TABLE IF NOT EXISTS forks (
  feed INTEGER NOT NULL,
  first INTEGER NOT NULL,
  prev BLOB NOT NULL,         -- empty for none
  winner_signature BLOB NOT NULL,
  winner BLOB NOT NULL,
  loser_signature BLOB NOT NULL,
  loser BLOB NOT NULL,
  PRIMARY KEY (feed, first, prev)
) STRICT;
-- Own posts that were said here, set aside, and not said again.
CREATE TABLE IF NOT EXISTS lost (
  offset INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS lost_by_seq ON lost (epoch, seq);
