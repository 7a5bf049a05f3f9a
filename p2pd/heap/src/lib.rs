//! The heap of this process.

/// Gives pages that are free back to the system, as far as the allocator can tell which are: glibc keeps what a burst
/// needed for as long as anything newer is in use. On other systems it does nothing.
///
/// It looks at all that was ever freed and holds up whoever allocates meanwhile, so call it after a burst and not within:
/// it takes some milliseconds for tens of megabytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no crate that is kept well calls it safely")]
pub fn trim() {
    // SAFETY: it is declared as the manual has it (malloc_trim(3)), may be called by any thread at any time, and touches
    // nothing that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Does nothing: this system's allocator is left to itself.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Of memory, resident.
    fn pages() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("the system tells");
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number")
    }

    #[test]
    fn what_is_free_between_what_is_in_use_goes_back_to_the_system() {
        let mut blocks: Vec<Vec<u8>> = (0..4_096).map(|_| vec![1; 16 << 10]).collect();
        let all = pages();
        let mut place = 0;
        blocks.retain(|_| {
            place += 1;
            place % 64 == 0
        });
        super::trim();
        // 64 MiB were taken, and 63 of them given back.
        let left = pages();
        assert!(all.saturating_sub(left) > 12_000, "of {all} pages {left} are left");
        assert!(blocks.iter().all(|block| block.iter().all(|byte| *byte == 1)));
    }
}
