//! What a person sees at a terminal while something takes its time.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

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
        Self(drawn(bar, template).with_message("0 stored"))
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

/// How many of so many are done; nothing where nobody looks.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// 0 is for where nobody knows how many there will be.
    pub(crate) fn new(visible: bool, total: u64) -> Self {
        match (visible, total) {
            (false, _) => Self(ProgressBar::hidden()),
            (true, 0) => Self(drawn(ProgressBar::new_spinner(), "{spinner} {pos} {elapsed}")),
            (true, total) => Self(drawn(ProgressBar::new(total), "{wide_bar} {pos}/{len} {per_sec} {eta}")),
        }
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
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
    let bar = drawn(bar, template);
    bar.enable_steady_tick(TICK);
    bar
}

fn drawn(bar: ProgressBar, template: &str) -> ProgressBar {
    bar.set_style(ProgressStyle::with_template(template).expect("the template is ours"));
    if io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(Narrowed::default())));
    }
    bar
}

/// The terminal on stderr without its last columns. They are for the `^C` of an interrupt: behind a bar that fills its line it would
/// stand on the next one, and that one would be cleared in place of the bar.
#[derive(Debug, Default)]
struct Narrowed {
    /// Written at once when a bar is complete.
    drawn: Mutex<String>,
}

impl Narrowed {
    fn add(&self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.drawn().write_fmt(text).map_err(io::Error::other)
    }

    /// Moves the cursor; no way at all would be read as one column.
    fn go(&self, by: usize, direction: char) -> io::Result<()> {
        if by == 0 { Ok(()) } else { self.add(format_args!("\x1b[{by}{direction}")) }
    }

    fn drawn(&self) -> MutexGuard<'_, String> {
        self.drawn.lock().expect("nobody panics with the text in hand")
    }
}

impl TermLike for Narrowed {
    fn width(&self) -> u16 {
        narrowed(rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col))
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.add(format_args!("{s}\r\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.add(format_args!("{s}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add(format_args!("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let mut stderr = io::stderr();
        stderr.write_all(std::mem::take(&mut *self.drawn()).as_bytes())?;
        stderr.flush()
    }
}

/// What a bar has of a terminal. Some serial consoles do not know their size, and say 0.
fn narrowed(columns: u16) -> u16 {
    let columns = if columns == 0 { COLUMNS_USUAL } else { columns };
    columns.saturating_sub(INTERRUPT_COLUMNS).max(1)
}

/// Turns while nothing comes, so that it is seen to wait.
const TICK: Duration = Duration::from_millis(120);
/// `^C`, and the cursor behind it.
const INTERRUPT_COLUMNS: u16 = 3;
const COLUMNS_USUAL: u16 = 80;

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

    #[test]
    fn c_04_a_bar_leaves_room_for_the_sign_of_an_interrupt() {
        let terminal = Narrowed::default();
        assert_eq!([0, 40, 2].map(narrowed), [77, 37, 1]);
        terminal.write_str("bar").expect("it is only kept");
        terminal.move_cursor_up(0).expect("it is only kept");
        terminal.move_cursor_left(2).expect("it is only kept");
        terminal.clear_line().expect("it is only kept");
        assert_eq!(*terminal.drawn(), "bar\x1b[2D\r\x1b[2K", "no way is no movement");
    }
}
