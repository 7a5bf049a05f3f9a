-- What the user noted of peers.
CREATE TABLE IF NOT EXISTS notes (
  peer BLOB PRIMARY KEY,
  petname TEXT NOT NULL,      -- empty for none
  blocked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Peers that the user forgot: others may still tell of them.
CREATE TABLE IF NOT EXISTS forgotten (
  peer BLOB PRIMARY KEY,
  rev INTEGER NOT NULL        -- of the newest record that was known
) STRICT, WITHOUT ROWID;
-- Who used a name first, by the name without what is hard to see.
CREATE TABLE IF NOT EXISTS names (
  name TEXT PRIMARY KEY,
  peer BLOB NOT NULL
) STRICT, WITHOUT ROWID;
