//! Pictures on a terminal, each in the place of the last.

use std::io::{self, Write};

use super::escape;
use crate::Screen;

/// Draws escaped text without colours from the top of the screen. Where the screen is too small, lines end in `…` and
/// the last one says how many are left out: a picture that scrolls would not be replaced by the next.
pub(crate) fn write(picture: &[u8], screen: Screen, out: &mut dyn Write) -> io::Result<()> {
    let text = String::from_utf8_lossy(picture);
    let lines: Vec<&str> = text.lines().collect();
    // The cursor stands below the picture.
    let rows = screen.rows.saturating_sub(1).max(1);
    let shown = if lines.len() > rows { rows - 1 } else { lines.len() };
    out.write_all(HOME)?;
    for line in &lines[..shown] {
        write!(out, "{}{END_OF_LINE}", escape::cut(line, screen.columns))?;
    }
    if shown < lines.len() {
        let rest = format!("… {} more lines", lines.len() - shown);
        write!(out, "{}{END_OF_LINE}", escape::cut(&rest, screen.columns))?;
    }
    out.write_all(CLEAR_BELOW)
}

/// Flickers less than clearing everything.
const HOME: &[u8] = b"\x1b[H";
/// Clears what is left of the old line.
const END_OF_LINE: &str = "\x1b[K\r\n";
const CLEAR_BELOW: &[u8] = b"\x1b[J";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn drawn(picture: &str, columns: usize, rows: usize) -> String {
        let mut out = Vec::new();
        write(picture.as_bytes(), Screen { columns, rows }, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace("\x1b[K\r\n", "$").replace("\x1b[H", "^").replace("\x1b[J", ".")
    }

    #[test]
    fn c_06_a_picture_fits_the_screen_whatever_its_size() {
        assert_eq!(drawn("one\ntwo\n", 80, 24), "^one$two$.");
        assert_eq!(drawn("a\nb\nc\n", 80, 4), "^a$b$c$.");
        assert_eq!(drawn("a\nb\nc\nd\n", 80, 4), "^a$b$… 2 more lines$.");
        assert_eq!(drawn("abcdefghij\n宽宽宽\n", 5, 24), "^abcd…$宽宽…$.");
        assert_eq!(drawn("a\nb\n", 3, 1), "^… …$.");
    }
}
