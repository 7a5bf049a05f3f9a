//! Panics: bugs of ours. One in the task of a link or of a call costs that link or call; one in the core ends the
//! process, and whoever watches over it starts it anew. All are counted.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts every panic of this process from now on, beside what is done about them anyway.
pub fn count() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        TOTAL.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
}

/// Panics since they are counted.
#[must_use]
pub fn total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// Runs something to its end; none if it panicked. Nothing that it worked on may be used after that.
pub fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

static TOTAL: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_07_a_panic_is_counted_and_contained() {
        count();
        let before = total();
        assert_eq!(contain(|| 7), Some(7));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(contain(|| runtime.block_on(async { panic!("on purpose") })), None::<()>);
        assert!(total() > before);
    }
}
