-- Everything is keyed by integers: a feed and a room have a short row number, an envelope has its offset.
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  owner BLOB NOT NULL,        -- the identity whose store this is
  epoch INTEGER NOT NULL,     -- the newest run of it; 0 for none
  flushes INTEGER NOT NULL    -- changes when there is nothing to write and a flush is wanted
) STRICT;
-- What a start needs, so that it need not read envelopes.
CREATE TABLE feeds (
  id INTEGER PRIMARY KEY,
  author BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  runs BLOB NOT NULL,         -- held numbers: pairs of first and last, 8 bytes each, little endian
  head INTEGER NOT NULL,      -- the end of the highest run, with the hash of its envelope and its last stamp
  hash BLOB NOT NULL,
  ms INTEGER NOT NULL,
  counter INTEGER NOT NULL,
  bytes INTEGER NOT NULL,     -- of bodies
  envelopes INTEGER NOT NULL DEFAULT 0,
  base INTEGER NOT NULL DEFAULT 1   -- the lowest number still wanted: all below was dropped
) STRICT;
-- In the order of arrival, so that every append goes to the end of the file.
CREATE TABLE envelopes (
  offset INTEGER PRIMARY KEY,
  feed INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  ms INTEGER NOT NULL,        -- of all its posts: they differ in the counter only
  flags INTEGER NOT NULL,     -- 1 own, 2 late
  checksum INTEGER NOT NULL,  -- of body and signature
  signature BLOB NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX envelopes_by_seq ON envelopes (feed, first, count);
CREATE INDEX envelopes_by_clock ON envelopes (ms, feed);
CREATE TABLE rooms (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  posts INTEGER NOT NULL,
  newest_ms INTEGER NOT NULL
) STRICT;
-- Which envelopes say something in a room.
CREATE TABLE room_envelopes (
  room INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  feed INTEGER NOT NULL,
  posts INTEGER NOT NULL,
  PRIMARY KEY (room, ms, offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_envelopes_by_offset ON room_envelopes (room, offset, feed, posts);
-- Where posts were dropped, in the order of arrival. Nothing held stands in a gap, and between two gaps stands at least
-- one envelope: so there are never more gaps than envelopes.
CREATE TABLE gaps (
  first INTEGER PRIMARY KEY,  -- offsets, both included
  last INTEGER NOT NULL,
  posts INTEGER NOT NULL,
  oldest_ms INTEGER NOT NULL, -- the clocks of what was dropped
  newest_ms INTEGER NOT NULL
) STRICT;
-- Idempotency keys of own posts that are held.
CREATE TABLE keys (
  key TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  ms INTEGER NOT NULL,
  counter INTEGER NOT NULL,
  content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- The address book.
CREATE TABLE records (
  peer BLOB PRIMARY KEY,
  body TEXT NOT NULL,
  signature BLOB NOT NULL,
  seen_ms INTEGER NOT NULL    -- 0 for never
) STRICT, WITHOUT ROWID;
