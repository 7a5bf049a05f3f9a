//! Files that hold a secret: made at once and whole, and read only if nobody else could have.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::exit;

/// A text that is not shown to anybody and does not stay in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// A key file that cannot be used. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("{0:?} is missing: put it there, or make a new one with: p2pd keygen {0:?}")]
    Missing(PathBuf),
    /// The system refuses.
    #[error("{path:?} cannot be {act}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        act: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It leads somewhere else, where others may have put it.
    #[error("{0:?} is a symbolic link: put the file itself there")]
    Symlink(PathBuf),
    /// A directory, a pipe or the like.
    #[error("{0:?} is not a file")]
    NotAFile(PathBuf),
    /// Others can read it.
    #[error("{path:?} can be read by others (mode {mode:04o}): chmod 600 {path:?}")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else can change it.
    #[error("{path:?} belongs to user {owner}, not to user {us}: chown {us} {path:?}")]
    Owner {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Nothing is in it.
    #[error("{path:?} is empty: put your copy of it back, or {otherwise}")]
    Empty {
        /// Which.
        path: PathBuf,
        /// What else can be done.
        otherwise: String,
    },
    /// It is not what it should be.
    #[error("{path:?} holds no key ({why}): put your copy of it back, or {otherwise}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, without repeating what is in it.
        why: String,
        /// What else can be done.
        otherwise: String,
    },
    /// A file is not overwritten.
    #[error("{0:?} is there already: it is left as it is")]
    Exists(PathBuf),
    /// A history needs the identity that wrote it.
    #[error(
        "{path:?} is missing, but a history is there: put your copy of the file back, \
         or begin anew under another identity: mv {dir:?} {dir:?}.old"
    )]
    MissingWithHistory {
        /// The key's file.
        path: PathBuf,
        /// The data directory.
        dir: PathBuf,
    },
}

impl Secret {
    /// Keeps a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text. It must not get into any output.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl KeyFileError {
    /// What p2pd exits with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => exit::of_io(source),
            Self::Exposed { .. } | Self::Owner { .. } => exit::KEY_EXPOSED,
            Self::Missing(_)
            | Self::Symlink(_)
            | Self::NotAFile(_)
            | Self::Empty { .. }
            | Self::Content { .. }
            | Self::MissingWithHistory { .. } => exit::BAD_CONFIG,
            Self::Exists(_) => exit::FATAL,
        }
    }
}

/// Reads a key file. Its text is wiped when it goes.
///
/// # Errors
///
/// It cannot be read, or others could have read or written it. `Empty` and `Content` say `otherwise`, what else can
/// be done.
pub(crate) fn read(path: &Path, otherwise: &str) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source: io::Error| KeyFileError::Io { path: path.to_owned(), act: "read", source };
    // Without NONBLOCK, opening a pipe that somebody put there would wait for ever.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are an int in C");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => KeyFileError::Symlink(path.to_owned()),
        _ => failed(error),
    })?;
    check_access(path, &file.metadata().map_err(failed)?)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(KEY_FILE_LEN_MAX) + 1));
    file.take(u64::from(KEY_FILE_LEN_MAX) + 1).read_to_end(&mut bytes).map_err(failed)?;
    let otherwise = otherwise.to_owned();
    if bytes.trim_ascii().is_empty() {
        return Err(KeyFileError::Empty { path: path.to_owned(), otherwise });
    }
    let content = |why: &str| KeyFileError::Content { path: path.to_owned(), why: why.into(), otherwise };
    if bytes.len() > usize::from(KEY_FILE_LEN_MAX) {
        return Err(content("it is too large"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(content("it is not text")),
    }
}

fn check_access(path: &Path, metadata: &std::fs::Metadata) -> Result<(), KeyFileError> {
    let path = path.to_owned();
    let us = rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() {
        Err(KeyFileError::NotAFile(path))
    } else if metadata.uid() != us {
        Err(KeyFileError::Owner { path, owner: metadata.uid(), us })
    } else if mode & 0o077 != 0 {
        Err(KeyFileError::Exposed { path, mode })
    } else {
        Ok(())
    }
}

/// Makes a key file with mode 0600, whatever the umask: whole or not at all, also if the power goes. A file that is
/// there is never replaced, also if it appears just now.
///
/// # Errors
///
/// `Exists`, or the system refuses.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), KeyFileError> {
    write(path, text, place)
}

/// The same for a file that may be there: what it held is gone then.
///
/// # Errors
///
/// The system refuses; the file is then as it was.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), KeyFileError> {
    write(path, text, |from, to| std::fs::rename(from, to))
}

fn write(path: &Path, text: &str, place: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| KeyFileError::Io { path: path.to_owned(), act: "written", source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file_name = path.file_name().ok_or_else(|| KeyFileError::NotAFile(path.to_owned()))?.to_owned();
    file_name.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    let temporary = dir.join(file_name);
    let placed = write_new(&temporary, text).and_then(|()| place(&temporary, path));
    if let Err(error) = placed {
        // It may not even be there, and the first error is the one that tells something.
        let _ = std::fs::remove_file(&temporary);
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        return Err(if exists { KeyFileError::Exists(path.to_owned()) } else { failed(error) });
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// Removes what a process left behind that was killed in the middle of writing this file. Nobody may be writing it.
pub(crate) fn remove_leftovers(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let rest = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".tmp"));
        if rest.is_some_and(|rest| rest.len() == 16 && rest.chars().all(|c| c.is_ascii_hexdigit())) {
            // It is in nobody's way, and the next start tries again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives a file its name, unless that is taken.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // Not every file system can do that; a link does not replace anything either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

/// The longest is a network key file: three lines of some 100 characters, and comments.
const KEY_FILE_LEN_MAX: u16 = 4_096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_writer_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["k", "k.0123456789abcdef.tmp", "k.old", "k.0123.tmp", "kk.0123456789abcdef.tmp"];
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), "x").unwrap());
        remove_leftovers(&dir.path().join("k"));
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["k", "k.0123.tmp", "k.old", "kk.0123456789abcdef.tmp"]);
    }

    #[test]
    fn what_is_there_is_never_replaced_whatever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(matches!(create(&path, "new"), Err(KeyFileError::Exists(_))));
        assert!(path.is_symlink());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_key_that_is_replaced_is_the_new_one_or_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        create(&path, "old").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(read(&path, "x").unwrap().as_str(), "new");
        let gone = dir.path().join("gone").join("k");
        assert!(matches!(replace(&gone, "new"), Err(KeyFileError::Io { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(read(&path, "x"), Err(KeyFileError::NotAFile(_))));
    }

    #[test]
    fn d_10_where_nothing_can_be_written_the_path_is_named() {
        let path = Path::new("/proc/p2pd.key");
        let error = create(path, "new").unwrap_err();
        assert!(error.to_string().starts_with("\"/proc/p2pd.key\" cannot be written: "), "{error}");
        let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let error = KeyFileError::Io { path: path.into(), act: "written", source: read_only };
        assert_eq!(error.exit_code(), exit::STORE);
    }

    #[test]
    fn a_bare_name_is_a_file_here() {
        let error = create(Path::new("/"), "new").unwrap_err();
        assert!(matches!(error, KeyFileError::NotAFile(_)), "{error}");
        assert!(matches!(read(Path::new("no-such-key"), "x"), Err(KeyFileError::Missing(_))));
    }
}
