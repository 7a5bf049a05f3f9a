-- What the user noted of peers.
CREATE TABLE IF NOT EXISTS notes (
  peer BLOB PRIMARY KEY,
  petname TEXT NOT NULL,      -- empty for none
  blocked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Who used a name first, by the name without what is hard to see.
CREATE TABLE IF NOT EXISTS names (
  name TEXT PRIMARY KEY,
  peer BLOB NOT NULL
) STRICT, WITHOUT ROWID;
