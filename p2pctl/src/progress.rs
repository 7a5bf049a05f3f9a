//! What a person sees at a terminal while something takes its time.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far stdin is read and how much of it is stored; nothing where nobody looks.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// `total_bytes` is the size of stdin where it is a file.
    pub(crate) fn new(visible: bool, total_bytes: Option<u64>) -> Self {
        if !visible {
            return Self(ProgressBar::hidden());
        }
        let (bar, template) = match total_bytes {
            Some(total) => (ProgressBar::new(total), "{msg} {wide_bar} {bytes}/{total_bytes} {eta}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes} {elapsed}"),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is ours"));
        Self(bar.with_message("0 stored"))
    }

    /// More of stdin was read.
    pub(crate) fn read(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// So many are stored by now.
    pub(crate) fn sent(&self, posts: u64) {
        self.0.set_message(format!("{posts} stored"));
    }

    /// Writes lines that stay, above the bar.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// Takes the bar away: the lines that follow tell the result.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    /// Ctrl-C leaves no half bar behind.
    fn drop(&mut self) {
        self.finish();
    }
}

/// A word of what is waited for; nothing where nobody looks. Texts are escaped before they come here.
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn new(visible: bool) -> Self {
        Self(spinning(visible, ProgressBar::new_spinner(), "{spinner} {wide_msg} {elapsed}"))
    }

    pub(crate) fn say(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.finish();
    }
}

/// How much of what was missing has come.
pub(crate) struct Missing(ProgressBar);

impl Missing {
    pub(crate) fn new(visible: bool) -> Self {
        Self(spinning(visible, ProgressBar::new(0), "{spinner} {bar:20} {wide_msg} {elapsed}"))
    }

    /// So many are missing now. More may turn out to be missing at any time.
    pub(crate) fn show(&self, missing: u64, text: &str) {
        let most = self.0.length().unwrap_or(0).max(missing);
        self.0.set_length(most);
        self.0.set_position(most - missing);
        self.0.set_message(text.to_owned());
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        self.finish();
    }
}

fn spinning(visible: bool, bar: ProgressBar, template: &str) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    bar.set_style(ProgressStyle::with_template(template).expect("the template is ours"));
    bar.enable_steady_tick(TICK);
    bar
}

/// Turns while nothing comes, so that it is seen to wait.
const TICK: Duration = Duration::from_millis(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_becomes_less_whatever_turns_up() {
        for visible in [true, false] {
            let bar = Missing::new(visible);
            for (missing, position) in [(10, 0), (4, 6), (14, 0), (0, 14)] {
                bar.show(missing, "posts are missing");
                assert!(!visible || bar.0.position() == position, "{missing}");
            }
            let spinner = Spinner::new(visible);
            spinner.say("delivered to 1 of 2");
            assert!(!visible || spinner.0.message() == "delivered to 1 of 2");
        }
    }

    #[test]
    fn both_bars_can_be_drawn() {
        for total_bytes in [Some(10), None] {
            let progress = Progress::new(true, total_bytes);
            progress.read(7);
            progress.sent(3);
            let mut is_written = false;
            progress.above(|| is_written = true);
            assert!(is_written);
            assert_eq!((progress.0.position(), progress.0.message()), (7, "3 stored".to_owned()));
            progress.finish();
        }
    }
}
