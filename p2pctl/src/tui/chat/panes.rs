//! What stands where on a terminal of any size.

use ratatui::layout::Rect;

use super::wrap;
use crate::output::escape;

/// The parts of the screen. Where there is no room, a part is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Panes {
    pub(super) rooms: Rect,
    pub(super) posts: Rect,
    pub(super) members: Rect,
    /// How the daemon is, or a notice in its place: nothing that is only told may move what is read.
    pub(super) status: Rect,
    /// What is answered.
    pub(super) answered: Rect,
    pub(super) input: Rect,
}

/// A text as it is typed, in lines, and where its cursor is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Typed {
    pub(super) lines: Vec<String>,
    pub(super) cursor: (usize, usize),
}

impl Panes {
    /// For a text of so many lines, which answers something or does not, and so many rooms.
    pub(super) fn of((columns, rows): (u16, u16), input_lines: usize, is_answer: bool, rooms: usize) -> Self {
        let input = u16::try_from(input_lines).unwrap_or(u16::MAX).clamp(1, (rows / 3).clamp(1, INPUT_ROWS_MAX));
        let input = input.min(rows);
        let status = u16::from(rows > input);
        let answered = u16::from(is_answer && rows > input + status + 1);
        let top = rows - input - status - answered;
        let row = |y, height| Rect { x: 0, y, width: columns, height };
        let below = Self {
            status: row(top, status),
            answered: row(top + status, answered),
            input: row(top + status + answered, input),
            ..Self::default()
        };
        below.with_top(columns, top, rooms)
    }

    fn with_top(self, columns: u16, height: u16, rooms: usize) -> Self {
        let (left, right) = match columns {
            BOTH_COLUMNS.. => (ROOMS_COLUMNS, MEMBERS_COLUMNS),
            MEMBERS_FROM..BOTH_COLUMNS => (0, MEMBERS_COLUMNS),
            0..MEMBERS_FROM => (0, 0),
        };
        // A column with the rule parts them from the posts.
        let (left_all, right_all) = (left + u16::from(left > 0), right + u16::from(right > 0));
        let pane = |x, width, y, height| Rect { x, y, width, height };
        let posts = pane(left_all, columns - left_all - right_all, 0, height);
        let right_x = columns - right;
        if left > 0 || right == 0 {
            let (rooms, members) = (pane(0, left, 0, height), pane(right_x, right, 0, height));
            return Self { rooms, posts, members, ..self };
        }
        // One pane for both, with the rooms in the upper third at most, below their head.
        let above = u16::try_from(rooms + 1).unwrap_or(u16::MAX).min(height / 3);
        let (rooms, members) = (pane(right_x, right, 0, above), pane(right_x, right, above, height - above));
        Self { rooms, posts, members, ..self }
    }
}

impl Typed {
    /// `before` is the part of `text` before the cursor.
    pub(super) fn of(text: &str, before: &str, columns: usize) -> Self {
        let columns = columns.max(2);
        let lay = |text: &str| -> Vec<String> {
            escape::lines(text).flat_map(|line| wrap::columns(&line, columns)).collect()
        };
        let before = lay(before);
        let cursor = (before.len() - 1, before.last().map_or(0, |line| wrap::width(line)));
        Self { lines: lay(text), cursor }
    }
}

/// What stands before the text that is typed.
pub(super) const PROMPT: &str = "> ";
const INPUT_ROWS_MAX: u16 = 8;
const ROOMS_COLUMNS: u16 = 18;
const MEMBERS_COLUMNS: u16 = 22;
/// From here on the posts keep 60 columns beside both panes.
const BOTH_COLUMNS: u16 = 104;
const MEMBERS_FROM: u16 = 76;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_and_column_belongs_to_one_part() {
        for columns in [1, 10, 40, 75, 76, 103, 104, 300] {
            for rows in [1, 2, 3, 4, 10, 24, 100] {
                for (lines, is_answer) in [(1, false), (1, true), (50, true)] {
                    let panes = Panes::of((columns, rows), lines, is_answer, 3);
                    let height = panes.posts.height + panes.answered.height + panes.status.height + panes.input.height;
                    assert_eq!(height, rows, "{columns} {rows} {panes:?}");
                    assert!(panes.posts.right() <= columns && panes.members.right() <= columns, "{panes:?}");
                    assert!(panes.input.height >= 1 && panes.input.bottom() == rows, "{panes:?}");
                }
            }
        }
    }

    #[test]
    fn a_cursor_stands_behind_what_is_before_it() {
        let typed = Typed::of("a\u{7}宽e\u{301}\nxy", "a\u{7}宽e\u{301}", 20);
        assert_eq!(typed.lines, ["a^G宽e\u{301}", "xy"]);
        assert_eq!(typed.cursor, (0, 6));
        assert_eq!(Typed::of("abcd", "abcd", 4).cursor, (1, 0));
        assert_eq!(Typed::of("", "", 4), Typed { lines: vec![String::new()], cursor: (0, 0) });
    }
}
