//! What goes wrong inside the store, and how it is told outside.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMSIZE};

use super::StoreError;

/// A job that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The database says no.
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    /// The job contradicts what is stored.
    #[error("{0}")]
    Refused(String),
    /// What is stored is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It belongs to another identity.
    #[error("{0}")]
    Misplaced(String),
}

impl Fault {
    /// A flush failed: the system may have dropped what it had not written, and a second flush would hide that.
    pub(super) fn is_flush(&self) -> bool {
        self.extended_code().is_some_and(|code| [SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC].contains(&code))
    }

    /// As the world outside sees it, with the place that a person can look at.
    pub(super) fn told(self, dir: &Path) -> StoreError {
        match self {
            Self::Refused(why) => StoreError::Failed(why),
            Self::Damaged(why) => StoreError::Damaged(format!("{}: {why}", dir.display())),
            Self::Misplaced(why) => StoreError::Misplaced(format!("{}: {why}", dir.display())),
            Self::Sql(_) if self.is_full() || (self.cannot_open() && has_no_files_left(dir)) => full(dir),
            // A flipped bit in the file's header makes its format one of the future, for which there is no code.
            Self::Sql(error) if error.to_string() == "unsupported file format" => {
                StoreError::Damaged(format!("the history in {} is damaged: {error}", dir.display()))
            }
            Self::Sql(error) => match error.sqlite_error_code() {
                // Where the database itself has nothing to say, a column is not what it was written as.
                None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    StoreError::Damaged(format!("the history in {} is damaged: {error}", dir.display()))
                }
                _ => StoreError::Failed(format!("the history in {} cannot be used: {error}", dir.display())),
            },
        }
    }

    fn is_full(&self) -> bool {
        // The index of the log that all connections share is a file too, and cannot grow on a full disk.
        let shared_index_is_stuck = self.extended_code() == Some(SQLITE_IOERR_SHMSIZE);
        matches!(self, Self::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
            || shared_index_is_stuck
    }

    fn cannot_open(&self) -> bool {
        matches!(self, Self::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen))
    }

    fn extended_code(&self) -> Option<std::ffi::c_int> {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(error, _)) => Some(error.extended_code),
            Self::Sql(_) | Self::Refused(_) | Self::Damaged(_) | Self::Misplaced(_) => None,
        }
    }
}

/// A full disk, with what a person wants to know first about it.
pub(super) fn full(dir: &Path) -> StoreError {
    let free = match rustix::fs::statvfs(dir) {
        Ok(disk) if has_no_files_left(dir) && disk.f_bavail > 0 => "no more files fit".to_owned(),
        Ok(disk) => format!("{} bytes free", disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => format!("free bytes not known: {error}"),
    };
    StoreError::Full(format!("{} ({free})", dir.display()))
}

/// Some file systems have room for so many files; others count none.
fn has_no_files_left(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_files > 0 && disk.f_ffree == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rusqlite::ffi;

    use super::*;

    fn fault(extended_code: std::ffi::c_int) -> Fault {
        Fault::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), None))
    }

    #[test]
    fn d_07_only_a_failed_flush_stops_the_store() {
        assert!(fault(SQLITE_IOERR_FSYNC).is_flush());
        assert!(fault(SQLITE_IOERR_DIR_FSYNC).is_flush());
        for other in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_READ, ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
            assert!(!fault(other).is_flush(), "{other}");
        }
    }

    #[test]
    fn d_06_a_full_disk_is_told_with_its_folder_and_the_bytes_that_are_left() {
        let dir = tempfile::tempdir().unwrap();
        for code in [ffi::SQLITE_FULL, SQLITE_IOERR_SHMSIZE] {
            let text = fault(code).told(dir.path()).to_string();
            let start = format!("disk full in {} (", dir.path().display());
            let bytes = text.strip_prefix(&start).and_then(|rest| rest.strip_suffix(" bytes free)"));
            assert!(bytes.is_some_and(|bytes| bytes.parse::<u64>().is_ok()), "{text}");
        }
    }

    #[test]
    fn damage_and_other_failures_are_told_apart() {
        let dir = Path::new("/d");
        assert!(matches!(fault(ffi::SQLITE_CORRUPT).told(dir), StoreError::Damaged(why) if why.contains("/d")));
        let future = Some("unsupported file format".to_owned());
        let future = Fault::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ERROR), future));
        assert!(matches!(future.told(dir), StoreError::Damaged(why) if why.contains("/d")));
        let column = Fault::Sql(rusqlite::Error::InvalidColumnType(1, "count".into(), rusqlite::types::Type::Null));
        assert!(matches!(column.told(dir), StoreError::Damaged(why) if why.contains("count")));
        assert!(matches!(fault(ffi::SQLITE_IOERR_WRITE).told(dir), StoreError::Failed(why) if why.contains("/d")));
    }
}
