//! The data directory, which one daemon owns at a time, and the identity in it.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use p2p_mesh::id::{PeerId, base32, from_base32};
use zeroize::Zeroizing;

use crate::exit;
use crate::keyfile::{self, KeyFileError};
use crate::paths::{HISTORY_FILE, IDENTITY_FILE, LOCK_FILE};

/// A data directory that is ours, until this value goes or the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// A data directory that cannot be used. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refuses.
    #[error("data directory {path:?} cannot be {act}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// `made`, `read` or `locked`.
        act: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file, or a link to nowhere.
    #[error("data directory {0:?} is not a directory: move it away, or set another with --data-dir")]
    NotADirectory(PathBuf),
    /// A link to something that is not there.
    #[error("data directory {0:?} is a symbolic link to nowhere: make the directory it leads to, or rm {0:?}")]
    Dangling(PathBuf),
    /// Somebody else's.
    #[error("data directory {path:?} belongs to user {owner}, not to user {us}: chown -R {us} {path:?}")]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Others can get into it.
    #[error("data directory {path:?} is open to others (mode {mode:04o}): chmod 700 {path:?}")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another daemon has it.
    #[error("data directory {} is in use by {}", path.display(), holder(*pid))]
    InUse {
        /// Which.
        path: PathBuf,
        /// The other one, where it said so.
        pid: Option<u32>,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another p2pd".into(), |pid| format!("pid {pid}"))
}

impl DataDirError {
    /// What p2pd exits with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => exit::of_io(source),
            Self::InUse { .. } => exit::IN_USE,
            Self::NotADirectory(_) | Self::Dangling(_) | Self::Owner { .. } | Self::Exposed { .. } => exit::BAD_CONFIG,
        }
    }
}

impl DataDir {
    /// Takes the directory, and makes it with mode 0700 if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made, is not ours alone, or another daemon has it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let metadata = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
            other => other.map_err(failed(path, "read"))?,
        };
        check_access(path, &metadata)?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that says who we are, made at the first start.
    ///
    /// # Errors
    ///
    /// The file cannot be used, or is missing though there is a history, which nobody else's key can go on with.
    pub fn identity(&self) -> Result<SigningKey, KeyFileError> {
        let path = self.path.join(IDENTITY_FILE);
        let anew = format!("begin anew under another identity: mv {:?} {:?}.old", self.path, self.path);
        match keyfile::read(&path, &anew) {
            Ok(text) => {
                let seed = parse_identity(&text);
                let seed = seed.map_err(|why| KeyFileError::Content { path, why, otherwise: anew })?;
                Ok(SigningKey::from_bytes(&seed))
            }
            Err(KeyFileError::Missing(path)) if self.path.join(HISTORY_FILE).exists() => {
                Err(KeyFileError::MissingWithHistory { path, dir: self.path.clone() })
            }
            Err(KeyFileError::Missing(path)) => {
                let seed = Zeroizing::new(rand::random::<[u8; 32]>());
                let text = Zeroizing::new(base32(&*seed));
                keyfile::create(&path, &Zeroizing::new(format!("{IDENTITY_TAG} {}\n", *text)))?;
                let key = SigningKey::from_bytes(&seed);
                let peer = PeerId(key.verifying_key().to_bytes());
                tracing::info!(peer = peer.short(), file = ?path, "identity_made");
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }
}

/// Keeps the memory of this process out of core dumps and from other processes of the same user; the same holds for
/// `/proc/PID/environ`, where a secret given as a variable stays readable otherwise.
///
/// # Errors
///
/// The system refuses. The daemon can go on.
pub fn forbid_memory_access() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

fn make(path: &Path) -> Result<Metadata, DataDirError> {
    if path.is_symlink() {
        return Err(DataDirError::Dangling(path.to_owned()));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    // The umask may have taken some of our own permissions away.
    let made = made.and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o700)));
    made.and_then(|()| std::fs::metadata(path)).map_err(failed(path, "made"))
}

fn check_access(path: &Path, metadata: &Metadata) -> Result<(), DataDirError> {
    let path = path.to_owned();
    let us = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_dir() {
        Err(DataDirError::NotADirectory(path))
    } else if metadata.uid() != us {
        Err(DataDirError::Owner { path, owner: metadata.uid(), us })
    } else if mode & 0o077 != 0 {
        Err(DataDirError::Exposed { path, mode })
    } else {
        Ok(())
    }
}

/// Takes the lock. It is the system's, so it goes with the process however that ends.
fn lock(dir: &Path) -> Result<File, DataDirError> {
    let failed = failed(dir, "locked");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(dir.join(LOCK_FILE)).map_err(&failed)?;
    match file.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirError::InUse { path: dir.to_owned(), pid: holder_of(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_permissions(Permissions::from_mode(0o600)).map_err(&failed)?;
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(&failed)?;
    Ok(file)
}

/// The pid that the holder of the lock wrote into it.
fn holder_of(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn parse_identity(text: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let seed = text.trim().strip_prefix(IDENTITY_TAG).and_then(|rest| rest.strip_prefix(' '));
    let seed = seed.ok_or_else(|| format!("it does not begin with {IDENTITY_TAG}"))?;
    from_base32(seed.trim()).map(Zeroizing::new).map_err(|error| error.to_string())
}

fn failed(path: &Path, act: &'static str) -> impl Fn(io::Error) -> DataDirError + use<> {
    let path = path.to_owned();
    move |source| DataDirError::Io { path: path.clone(), act, source }
}

const IDENTITY_TAG: &str = "p2pd-identity-v1";
/// Twenty digits and a newline.
const PID_LEN_MAX: u64 = 21;

#[cfg(test)]
mod tests;
