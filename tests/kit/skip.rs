//! Tests that need more than a plain machine has: they say what they miss, and pass.

use std::io::{self, Write};

/// Gives what a test needs, or says why it cannot run here. With `P2P_TESTS_SKIP=never` that is a failure, so that a
/// build server cannot lose tests unseen.
///
/// # Panics
///
/// It is missing, and must not be.
#[track_caller]
pub fn or_skip<T>(needed: Result<T, String>) -> Option<T> {
    let why = match needed {
        Ok(needed) => return Some(needed),
        Err(why) => why,
    };
    assert!(std::env::var_os("P2P_TESTS_SKIP").is_none_or(|skip| skip != "never"), "it cannot run here: {why}");
    let thread = std::thread::current();
    // Past the harness, which hides what passing tests print.
    let _ = writeln!(io::stderr(), "skipped: {}: {why}", thread.name().unwrap_or("a test"));
    None
}
