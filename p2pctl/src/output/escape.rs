//! The one choke point for text that others wrote: nothing foreign reaches a terminal but through here.
//!
//! What is hostile is shown, never dropped: control characters in caret form (`^[`), everything else that moves,
//! reorders or hides as its number (`<U+202E>`).

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use super::joiner;

/// Columns that a name may take.
pub(crate) const NAME_COLUMNS_MAX: usize = 32;
/// Combining marks on one base that are shown; real scripts use up to four.
const MARKS_MAX: usize = 8;
const TAB: &str = "    ";
/// Carries combining marks that have no base, so they do not land on what we wrote ourselves.
const NO_BASE: char = '\u{25cc}';

/// Text on one line: a newline becomes `^J`.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    // Most text is plain, and a stream of it should cost nothing.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut marks: Option<usize> = None;
    for (at, character) in text.char_indices() {
        if !is_mark(character) && !joiner::is_in_place(text, at) {
            end_marks(&mut shown, marks);
            marks = Some(0);
            push(&mut shown, character);
            continue;
        }
        let seen = marks.unwrap_or_else(|| {
            shown.push(NO_BASE);
            0
        });
        if seen < MARKS_MAX {
            shown.push(character);
        }
        marks = Some(seen + 1);
    }
    end_marks(&mut shown, marks);
    Cow::Owned(shown)
}

/// The lines of a post, each escaped. There is at least one.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split('\n').map(line)
}

/// A name that somebody gave itself: one line, at most 32 columns, and free of joiners and of the two signs that stand
/// behind every name we show (`~` before the key, `:` before the text).
pub(crate) fn name(text: &str) -> String {
    let mut safe = String::new();
    for character in line(text).chars() {
        match character {
            '~' | ':' | joiner::JOINER | joiner::NON_JOINER => push_number(&mut safe, character),
            _ => safe.push(character),
        }
    }
    cut(&safe, NAME_COLUMNS_MAX)
}

/// The start of `text` that fits into `columns`, with `…` where something was left out.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for piece in pieces(text) {
        used += width(piece);
        if used > columns {
            break;
        }
        kept.push_str(piece);
    }
    kept.push('…');
    kept
}

/// Text in pieces that nothing may part: a character, the marks on it, and what is joined to it.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(piece_len(rest));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Bytes of the first piece of `text`.
pub(crate) fn piece_len(text: &str) -> usize {
    let mut characters = text.char_indices();
    characters.next();
    characters.find(|(at, _)| !is_combined(text, *at)).map_or(text.len(), |(at, _)| at)
}

/// What stands at `at` belongs to the character before it.
pub(crate) fn is_combined(text: &str, at: usize) -> bool {
    let is_mark_there = text[at..].chars().next().is_some_and(is_mark);
    is_mark_there || joiner::is_in_place(text, at) || joiner::is_joined(text, at)
}

/// Columns that escaped text takes on a terminal; more where a terminal joins emoji to one picture.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Columns of one character that [`line`] let through.
pub(crate) fn char_width(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// Moves the cursor, reorders, hides or breaks lines: never shown as it is.
pub(crate) fn is_hostile(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

fn push(shown: &mut String, character: char) {
    match character {
        '\t' => shown.push_str(TAB),
        '\u{7f}' => shown.push_str("^?"),
        '\0'..='\u{1f}' => {
            shown.push('^');
            shown.push(char::from(character as u8 ^ 0x40));
        }
        _ if is_hostile(character) => push_number(shown, character),
        _ => shown.push(character),
    }
}

fn push_number(shown: &mut String, character: char) {
    write!(shown, "<U+{:X}>", u32::from(character)).expect("writing into a String cannot fail");
}

fn end_marks(shown: &mut String, marks: Option<usize>) {
    if let Some(cut) = marks.and_then(|marks| marks.checked_sub(MARKS_MAX)).filter(|cut| *cut > 0) {
        write!(shown, "<+{cut} marks>").expect("writing into a String cannot fail");
    }
}

/// Joins the character before it.
pub(super) fn is_mark(character: char) -> bool {
    !is_hostile(character) && character.width() == Some(0)
}

/// Format characters of Unicode and the fillers that look like nothing.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}'
        // Zero width, direction marks; line and paragraph separators; overrides.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        // Tags and the variation selectors that can carry hidden text.
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn x_01_terminal_commands_are_shown_and_not_obeyed() {
        assert_eq!(line("\x1b[2J"), "^[[2J");
        assert_eq!(line("\x1b]0;owned\x07"), "^[]0;owned^G");
        assert_eq!(line("\x1b]52;c;aGk=\x07\x1b]8;;http://x\x1b\\y"), "^[]52;c;aGk=^G^[]8;;http://x^[\\y");
        assert_eq!(line("\x1bP1$r\x1b\\\x1b_x\x1b\\\x1b[6n\x1bc"), "^[P1$r^[\\^[_x^[\\^[[6n^[c");
    }

    #[test]
    fn x_02_c1_controls_are_numbers() {
        assert_eq!(line("\u{9b}2J\u{90}x\u{7f}"), "<U+9B>2J<U+90>x^?");
    }

    #[test]
    fn x_03_carriage_return_and_backspace_do_not_overwrite() {
        assert_eq!(line("pay me\rpay you\x08\x08"), "pay me^Mpay you^H^H");
        assert_eq!(lines("a\nb\r\n").collect::<Vec<_>>(), ["a", "b^M", ""]);
        assert_eq!(line("a\nb"), "a^Jb");
    }

    #[test]
    fn x_04_nothing_changes_the_direction_or_hides() {
        assert_eq!(line("a\u{202e}b\u{2066}c\u{200b}d\u{e0041}"), "a<U+202E>b<U+2066>c<U+200B>d<U+E0041>");
        assert_eq!(line("a\u{2028}b\u{feff}"), "a<U+2028>b<U+FEFF>");
    }

    #[test]
    fn x_06_names_are_one_short_line_that_cannot_fake_a_key() {
        assert_eq!(name("bob~7qfd: hi"), "bob<U+7E>7qfd<U+3A> hi");
        assert_eq!(name("alice\u{200d}"), "alice<U+200D>");
        assert_eq!(name(&"x".repeat(500)), format!("{}…", "x".repeat(31)));
        assert_eq!(width(&name(&"宽".repeat(40))), 31);
        assert_eq!(name("a\nb"), "a^Jb");
        assert_eq!(name("👨\u{200d}👩 ی\u{200c}ی"), "👨<U+200D>👩 ی<U+200C>ی");
    }

    #[test]
    fn a_text_is_never_cut_within_a_picture() {
        assert_eq!(cut("ab👨‍👩‍👧 more", 8), "ab…");
        assert_eq!(cut("ab👨‍👩‍👧 more", 9), "ab👨‍👩‍👧…");
        assert_eq!(cut("ae\u{301}bc", 3), "ae\u{301}…");
    }

    #[test]
    fn heaps_of_marks_are_cut_and_counted() {
        let heap = format!("a{}b", "\u{301}".repeat(20));
        assert_eq!(line(&heap), format!("a{}<+12 marks>b", "\u{301}".repeat(8)));
        assert_eq!(line("\u{301}a"), "\u{25cc}\u{301}a");
    }

    #[test]
    fn every_script_is_shown_as_it_is() {
        for text in ["Größe", "привет", "你好，世界", "¿qué?", "coração", "שלום", "हिन्दी", "☃ 👍"]
        {
            assert_eq!(line(text), text);
        }
    }

    /// Any character, the dangerous ones often.
    fn hostile_text() -> impl Strategy<Value = String> {
        let dangerous = proptest::sample::select(vec![
            '\x1b',
            '\x07',
            '\r',
            '\n',
            '\t',
            '\0',
            '\u{7f}',
            '\u{9b}',
            '\u{9d}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '👨',
            '❤',
            '🏽',
            'ی',
            'क',
            '\u{94d}',
            '\u{2028}',
            '\u{e0041}',
            '\u{301}',
            '\u{20dd}',
            '\u{fe0f}',
        ]);
        proptest::collection::vec(prop_oneof![any::<char>(), dangerous], 0..60)
            .prop_map(|characters| characters.into_iter().collect())
    }

    /// Bidi_Control of Unicode.
    fn is_bidi(character: char) -> bool {
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole_text(text in hostile_text()) {
            prop_assert_eq!(pieces(&text).collect::<String>(), text);
        }

        #[test]
        fn no_text_gets_a_control_through(text in hostile_text()) {
            for shown in [line(&text).into_owned(), name(&text), lines(&text).collect()] {
                let hostile = |at, c| is_hostile(c) && !joiner::is_in_place(&shown, at);
                prop_assert!(!shown.char_indices().any(|(at, c)| hostile(at, c)), "{shown:?}");
                prop_assert!(!shown.chars().any(|c| c.is_control() || is_bidi(c)), "{shown:?}");
            }
            prop_assert!(!name(&text).contains(is_hostile));
            prop_assert!(width(&name(&text)) <= NAME_COLUMNS_MAX);
        }

        #[test]
        fn no_letter_is_lost(text in hostile_text()) {
            let letters = |text: &str| -> String {
                text.chars().filter(|c| c.is_alphabetic() && c.is_ascii() || c.width() == Some(2)).collect()
            };
            // What we add ourselves holds ASCII letters, so only the order of the original ones is checked.
            let shown = letters(&line(&text));
            let mut rest = shown.chars();
            for letter in letters(&text).chars().filter(|letter| !is_hostile(*letter)) {
                prop_assert!(rest.any(|shown| shown == letter), "{letter:?} of {text:?}");
            }
        }
    }
}
