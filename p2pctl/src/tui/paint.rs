//! Rows that a terminal may measure otherwise than we do: flags, families of emoji, joined letters, wide characters of a
//! newer Unicode. There is no agreement on their columns, so what is drawn beside them can land where we do not know, and
//! stay. Whenever such a row changes it is wiped and written as a whole.

use std::io::{self, Write};

use crossterm::cursor::{MoveTo, RestorePosition, SavePosition};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use unicode_width::UnicodeWidthStr;

/// What was drawn last.
#[derive(Default)]
pub(super) struct Paint(Option<Buffer>);

impl Paint {
    /// Writes the doubtful rows of a picture that is drawn, as far as they changed. The cursor stays where it is.
    pub(super) fn mend(&mut self, drawn: &Buffer, out: &mut impl Write) -> io::Result<()> {
        let before = self.0.replace(drawn.clone());
        let rows: Vec<u16> = (0..drawn.area.height).filter(|row| is_to_mend(*row, drawn, before.as_ref())).collect();
        if rows.is_empty() {
            return Ok(());
        }
        queue!(out, SavePosition)?;
        for row in rows {
            queue!(out, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
            CrosstermBackend::new(&mut *out).draw(pieces(row, drawn))?;
        }
        queue!(out, RestorePosition)?;
        out.flush()
    }

    /// The terminal was cleared, or belonged to somebody else.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

fn is_to_mend(row: u16, drawn: &Buffer, before: Option<&Buffer>) -> bool {
    let before = before.filter(|before| before.area == drawn.area).map(|before| cells(row, before));
    let is_doubtful_now = cells(row, drawn).iter().any(is_doubtful);
    match before {
        Some(before) => before != cells(row, drawn) && (is_doubtful_now || before.iter().any(is_doubtful)),
        None => is_doubtful_now,
    }
}

/// One character of one column is where everybody thinks it is.
fn is_doubtful(cell: &Cell) -> bool {
    let mut characters = cell.symbol().chars();
    !cell.symbol().is_ascii() && (characters.nth(1).is_some() || cell.symbol().width() != 1)
}

fn cells(row: u16, buffer: &Buffer) -> &[Cell] {
    let columns = usize::from(buffer.area.width);
    let start = usize::from(row) * columns;
    &buffer.content[start..start + columns]
}

/// What is written in a row, with its place. A cell that the one before it reaches into is not.
fn pieces(row: u16, buffer: &Buffer) -> impl Iterator<Item = (u16, u16, &Cell)> {
    let mut free = 0;
    (0..).zip(cells(row, buffer)).filter_map(move |(column, cell)| {
        if column < free {
            return None;
        }
        free = column + u16::try_from(cell.symbol().width()).unwrap_or(1).max(1);
        Some((column, row, cell))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn mended(paint: &mut Paint, lines: &[&str]) -> String {
        let mut out = Vec::new();
        paint.mend(&Buffer::with_lines(lines.iter().copied()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_with_a_flag_is_written_as_a_whole_and_again_when_the_flag_is_gone() {
        let mut paint = Paint::default();
        let first = mended(&mut paint, &["a 🇩🇪 flag", "nothing  "]);
        assert!(first.starts_with("\x1b7\x1b[1;1H\x1b[2K") && first.contains("🇩🇪"), "{first:?}");
        assert!(!first.contains("nothing") && first.ends_with("\x1b8"), "{first:?}");
        assert_eq!(mended(&mut paint, &["a 🇩🇪 flag", "something"]), "", "a row that stays is not touched");
        let gone = mended(&mut paint, &["no flag  ", "something"]);
        assert!(gone.contains("\x1b[1;1H\x1b[2K") && gone.contains("no flag"), "{gone:?}");
        assert_eq!(mended(&mut paint, &["still no ", "something"]), "");
    }

    #[test]
    fn whoever_used_the_terminal_meanwhile_is_overwritten() {
        let mut paint = Paint::default();
        let lines = ["宽 e\u{301}"];
        assert!(!mended(&mut paint, &lines).is_empty());
        assert!(mended(&mut paint, &lines).is_empty());
        paint.forget();
        assert!(!mended(&mut paint, &lines).is_empty());
        assert!(!mended(&mut paint, &["宽 e\u{301} "]).is_empty(), "another size is another picture");
    }
}
