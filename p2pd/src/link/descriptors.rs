//! File descriptors: links may take all but a few, so that the log, the store and our own users always find one.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, getrlimit};

/// Whether a socket that was just opened took one of the last descriptors.
///
/// The system gives out the lowest number that is free, so all numbers below it are taken.
pub(super) fn is_reserved(socket: &impl AsRawFd) -> bool {
    let number = u64::try_from(socket.as_raw_fd()).unwrap_or(0);
    limit().is_some_and(|limit| number.saturating_add(RESERVE) >= limit)
}

/// What is wrong where no link can be opened now, for want of descriptors.
pub(super) fn shortage() -> Option<String> {
    let limit = limit()?;
    let is_short = match io::stderr().as_fd().try_clone_to_owned() {
        Ok(probe) => is_reserved(&probe),
        Err(error) => error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()),
    };
    is_short.then(|| {
        format!(
            "too many open files: of {limit} only {RESERVE} are left, which are kept for the store and the API, so \
             there are no new links (ulimit -n or LimitNOFILE raises the limit)"
        )
    })
}

/// How many descriptors this process may have now; none where there is no limit.
fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Kept for the log, the store and the API.
const RESERVE: u64 = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn p_01_only_the_last_descriptors_are_reserved() {
        struct Numbered(i32);
        impl AsRawFd for Numbered {
            fn as_raw_fd(&self) -> i32 {
                self.0
            }
        }
        let limit = i32::try_from(limit().unwrap()).unwrap();
        assert!(!is_reserved(&Numbered(limit - 9)));
        assert!(is_reserved(&Numbered(limit - 8)));
        assert_eq!(shortage(), None, "this test has descriptors enough");
    }
}
