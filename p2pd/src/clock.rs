//! The clock on the wall. One that stands before 1970 is as wrong as one that stands later, and is taken for 1970.

use std::time::{Duration, SystemTime};

/// Since 1970.
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The same in milliseconds.
#[must_use]
pub fn unix_ms() -> u64 {
    u64::try_from(unix().as_millis()).unwrap_or(u64::MAX)
}
