-- Invites that this daemon made. Never dropped while they may be used.
CREATE TABLE IF NOT EXISTS invites (
  id BLOB PRIMARY KEY,
  key BLOB NOT NULL,
  made_s INTEGER NOT NULL,
  expires_s INTEGER NOT NULL,
  uses_max INTEGER NOT NULL,
  revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Who used which. Flushed before he gets the network's key.
CREATE TABLE IF NOT EXISTS invite_uses (
  invite BLOB NOT NULL,
  peer BLOB NOT NULL,
  used_s INTEGER NOT NULL,
  PRIMARY KEY (invite, peer)
) STRICT, WITHOUT ROWID;
