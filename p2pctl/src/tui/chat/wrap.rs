//! Text in columns, measured as the terminal's drawing measures it.

use ratatui::style::Style;
use ratatui::text::Span;
use unicode_width::UnicodeWidthStr;

/// Columns of escaped text.
pub(super) fn width(text: &str) -> usize {
    graphemes(text).iter().map(|piece| piece.width()).sum()
}

/// The start of escaped text that fits, with `…` where something was left out.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for piece in graphemes(text) {
        used += piece.width();
        if used > columns {
            break;
        }
        kept.push_str(piece);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Escaped text as lines of so many columns, the first one of less: broken between words where there are any.
pub(super) fn words(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut columns = first;
    if first < FIRST_MIN && first < rest {
        lines.push(String::new());
        columns = rest;
    }
    let (mut line, mut used, mut word) = (String::new(), 0, 0);
    for piece in graphemes(text) {
        if used + piece.width() > columns && !line.is_empty() {
            let is_space = piece == " ";
            // A word that does not fit into the next line either is broken here.
            let is_kept = is_space || word == 0 || width(&line[word..]) + piece.width() > rest;
            let tail = if is_kept { String::new() } else { line.split_off(word) };
            lines.push(std::mem::replace(&mut line, tail));
            (columns, used, word) = (rest, width(&line), 0);
            // The break stands for it.
            if is_space {
                continue;
            }
        }
        line.push_str(piece);
        used += piece.width();
        if piece == " " {
            word = line.len();
        }
    }
    lines.push(line);
    lines
}

/// Escaped text as lines of so many columns, broken anywhere, and room for a cursor behind it.
pub(super) fn columns(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for piece in graphemes(text) {
        if used + piece.width() > columns && used > 0 {
            lines.push(String::new());
            used = 0;
        }
        lines.last_mut().expect("there is a line").push_str(piece);
        used += piece.width();
    }
    if used >= columns {
        lines.push(String::new());
    }
    lines
}

/// The same pieces that are drawn one after the other.
fn graphemes(text: &str) -> Vec<&str> {
    // Most text is plain.
    if text.is_ascii() {
        return (0..text.len()).map(|at| &text[at..=at]).collect();
    }
    let span = Span::raw(text);
    let lens: Vec<usize> = span.styled_graphemes(Style::new()).map(|piece| piece.symbol.len()).collect();
    let mut rest = text;
    let cut = lens.into_iter().map(|len| {
        let (piece, after) = rest.split_at(len);
        rest = after;
        piece
    });
    cut.collect()
}

/// Fewer columns than that are not worth beginning a text in.
const FIRST_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::escape;

    #[test]
    fn lines_break_between_words_where_they_can() {
        assert_eq!(words("one two three", 9, 9), ["one two ", "three"]);
        assert_eq!(words("one two three", 3, 9), ["", "one two ", "three"]);
        assert_eq!(words("abcdefghijklm", 8, 5), ["abcdefgh", "ijklm"]);
        assert_eq!(words("abcdefgh ij", 8, 8), ["abcdefgh", "ij"]);
        assert_eq!(words("宽宽宽宽宽", 8, 4), ["宽宽宽宽", "宽"]);
        assert_eq!(words("", 8, 8), [""]);
        assert_eq!(words("宽", 1, 1), ["宽"], "what fits nowhere is still there");
    }

    #[test]
    fn a_cursor_has_its_place_behind_the_last_column() {
        assert_eq!(columns("abc", 3), ["abc", ""]);
        assert_eq!(columns("abcd", 3), ["abc", "d"]);
        assert_eq!(columns("ab宽", 3), ["ab", "宽"]);
    }

    #[test]
    fn emoji_and_marks_are_as_wide_as_they_are_drawn() {
        assert_eq!([width("e\u{301}"), width("宽"), width("👍🏽"), width("☃\u{fe0f}")], [1, 2, 2, 2]);
        assert_eq!(cut("宽宽宽", 5), "宽宽…");
        assert_eq!(cut("宽宽", 4), "宽宽");
        assert_eq!(cut("abc", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_wide(text: String, first in 8_usize..40, rest in 2_usize..40) {
            let text = escape::line(&text);
            let lines = words(&text, first, rest);
            let shown: String = lines.concat();
            prop_assert_eq!(shown.replace(' ', ""), text.replace(' ', ""));
            prop_assert!(lines.iter().skip(1).all(|line| width(line) <= rest), "{:?}", lines);
        }
    }
}
