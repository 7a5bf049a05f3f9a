//! What the exit code of p2pd says.

use std::io::{Error, ErrorKind};

/// A clean stop, or a command that did what it was asked.
pub const OK: u8 = 0;
/// Something failed that no other code names.
pub const FATAL: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The address to listen at cannot be bound.
pub const CANNOT_BIND: u8 = 69;
/// The disk is full, read-only or broken, or the store is damaged.
pub const STORE: u8 = 74;
/// The data directory is used by another daemon.
pub const IN_USE: u8 = 75;
/// A key file can be read by others.
pub const KEY_EXPOSED: u8 = 77;
/// The configuration or a file that it names cannot be used.
pub const BAD_CONFIG: u8 = 78;

/// The code for a file that cannot be made or read: a failing disk is told from a path that is wrong.
#[must_use]
pub fn of_io(error: &Error) -> u8 {
    let failing = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::ReadOnlyFilesystem];
    let broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    if broken || failing.contains(&error.kind()) { STORE } else { BAD_CONFIG }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_10_a_failing_disk_is_told_from_a_wrong_path() {
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::ReadOnlyFilesystem] {
            assert_eq!(of_io(&kind.into()), STORE);
        }
        assert_eq!(of_io(&rustix::io::Errno::IO.into()), STORE);
        for kind in [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::NotADirectory] {
            assert_eq!(of_io(&kind.into()), BAD_CONFIG);
        }
    }
}
