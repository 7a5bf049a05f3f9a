//! The line that is typed: text of one or more lines, a cursor in it, and what was typed before.

use std::collections::VecDeque;

use crate::output::escape;

/// What is typed in one room and not sent.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: String,
    /// In bytes, between two characters.
    cursor: usize,
    /// What was cut away last.
    cut: String,
    /// What was typed before, newest last.
    typed: VecDeque<String>,
    /// Which of them is shown, and what stood there before.
    recalled: Option<(usize, String)>,
}

impl Editor {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.cursor == self.text.len()
    }

    /// Puts a text in place of the one that is there, with the cursor behind it.
    pub(super) fn replace(&mut self, text: String) -> String {
        self.cursor = text.len();
        self.recalled = None;
        std::mem::replace(&mut self.text, text)
    }

    /// Puts another text in place of the last bytes before the cursor.
    pub(super) fn replace_before(&mut self, bytes: usize, with: &str) {
        let from = self.cursor - bytes;
        self.text.replace_range(from..self.cursor, with);
        self.cursor = from + with.len();
    }

    pub(super) fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Keeps what was typed, to be recalled, and begins anew.
    pub(super) fn take(&mut self) -> String {
        let text = self.replace(String::new());
        self.remember(&text);
        text
    }

    fn remember(&mut self, text: &str) {
        if text.trim().is_empty() || self.typed.back().is_some_and(|last| last == text) {
            return;
        }
        if self.typed.len() >= TYPED_MAX {
            self.typed.pop_front();
        }
        self.typed.push_back(text.to_owned());
    }

    pub(super) fn left(&mut self) {
        self.cursor = self.previous(self.cursor);
    }

    pub(super) fn right(&mut self) {
        self.cursor = self.next(self.cursor);
    }

    pub(super) fn word_left(&mut self) {
        self.cursor = self.word_start();
    }

    pub(super) fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let word = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let end = rest[word..].find(char::is_whitespace).map_or(rest.len(), |len| word + len);
        self.cursor += end;
    }

    pub(super) fn home(&mut self) {
        self.cursor = self.line_start();
    }

    pub(super) fn end(&mut self) {
        self.cursor = self.line_end();
    }

    pub(super) fn backspace(&mut self) {
        self.remove(self.previous(self.cursor), self.cursor);
    }

    pub(super) fn delete(&mut self) {
        self.remove(self.cursor, self.next(self.cursor));
    }

    pub(super) fn cut_word(&mut self) {
        self.cut(self.word_start(), self.cursor);
    }

    /// To the start of the line, or the line break before it.
    pub(super) fn cut_to_start(&mut self) {
        let start = self.line_start();
        self.cut(if start == self.cursor { self.previous(start) } else { start }, self.cursor);
    }

    /// To the end of the line, or the line break behind it.
    pub(super) fn cut_to_end(&mut self) {
        let end = self.line_end();
        self.cut(self.cursor, if end == self.cursor { self.next(end) } else { end });
    }

    pub(super) fn paste_cut(&mut self) {
        let cut = std::mem::take(&mut self.cut);
        self.insert(&cut);
        self.cut = cut;
    }

    /// A line up; from the first line on, what was typed before.
    pub(super) fn up(&mut self) {
        let start = self.line_start();
        if start > 0 {
            return self.move_to_line(start - 1, start);
        }
        let before = match &self.recalled {
            Some((at, _)) => at.checked_sub(1),
            None => self.typed.len().checked_sub(1),
        };
        if let Some(at) = before {
            self.recall(at);
        }
    }

    /// A line down; from the last line on, what was typed later.
    pub(super) fn down(&mut self) {
        let end = self.line_end();
        if end < self.text.len() {
            return self
                .move_to_line(self.text[end + 1..].find('\n').map_or(self.text.len(), |len| end + 1 + len), end + 1);
        }
        match self.recalled.take() {
            Some((at, draft)) if at + 1 < self.typed.len() => {
                self.recalled = Some((at, draft));
                self.recall(at + 1);
            }
            Some((_, draft)) => drop(self.replace(draft)),
            None => (),
        }
    }

    /// Keeps the cursor at its place in the line, as far as the other line reaches. One of both ends is in that line.
    fn move_to_line(&mut self, end: usize, beside: usize) {
        let place = self.text[self.line_start()..self.cursor].chars().count();
        let start = if beside > end { self.text[..end].rfind('\n').map_or(0, |at| at + 1) } else { beside };
        let line = &self.text[start..end];
        self.cursor = start + line.char_indices().nth(place).map_or(line.len(), |(at, _)| at);
    }

    fn recall(&mut self, at: usize) {
        let draft = match self.recalled.take() {
            Some((_, draft)) => draft,
            None => self.text.clone(),
        };
        self.replace(self.typed[at].clone());
        self.recalled = Some((at, draft));
    }

    fn cut(&mut self, from: usize, to: usize) {
        if from < to {
            self.cut = self.text[from..to].to_owned();
            self.remove(from, to);
        }
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    fn line_start(&self) -> usize {
        self.before_cursor().rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |len| self.cursor + len)
    }

    fn word_start(&self) -> usize {
        let word = self.before_cursor().trim_end();
        word.rfind(char::is_whitespace).map_or(0, |at| at + word[at..].chars().next().map_or(0, char::len_utf8))
    }

    /// The character before, with what was combined with it.
    fn previous(&self, from: usize) -> usize {
        let mut starts = self.text[..from].char_indices().rev().map(|(at, _)| at);
        starts.find(|at| !escape::is_combined(&self.text, *at)).unwrap_or(0)
    }

    fn next(&self, from: usize) -> usize {
        let mut at = from;
        while let Some(character) = self.text[at..].chars().next() {
            at += character.len_utf8();
            if !escape::is_combined(&self.text, at) {
                break;
            }
        }
        at
    }
}

/// Texts that can be recalled.
const TYPED_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[track_caller]
    fn check(editor: &Editor, before: &str, text: &str) {
        assert_eq!((editor.before_cursor(), editor.text()), (before, text));
    }

    #[test]
    fn words_and_lines_are_moved_over_and_cut() {
        let mut editor = with("one two  drei");
        editor.word_left();
        check(&editor, "one two  ", "one two  drei");
        editor.word_left();
        editor.word_right();
        check(&editor, "one two", "one two  drei");
        editor.cut_word();
        check(&editor, "one ", "one   drei");
        editor.cut_to_end();
        check(&editor, "one ", "one ");
        editor.home();
        editor.paste_cut();
        check(&editor, "  drei", "  dreione ");
        editor.end();
        editor.cut_to_start();
        check(&editor, "", "");
    }

    #[test]
    fn what_is_combined_is_one_character() {
        let mut editor = with("e\u{301}宽x");
        editor.left();
        editor.backspace();
        check(&editor, "e\u{301}", "e\u{301}x");
        editor.left();
        check(&editor, "", "e\u{301}x");
        editor.right();
        check(&editor, "e\u{301}", "e\u{301}x");
        editor.backspace();
        check(&editor, "", "x");
        editor.delete();
        editor.delete();
        check(&editor, "", "");
    }

    #[test]
    fn a_picture_of_several_emoji_is_one_character_and_a_hidden_joiner_is_one_too() {
        let mut editor = with("a👨\u{200d}👩🏽\u{200d}b");
        for before in ["a👨\u{200d}👩🏽\u{200d}", "a👨\u{200d}👩🏽", "a👨\u{200d}👩", "a", ""] {
            editor.left();
            check(&editor, before, "a👨\u{200d}👩🏽\u{200d}b");
        }
        editor.right();
        editor.delete();
        check(&editor, "a", "a🏽\u{200d}b");
    }

    #[test]
    fn what_was_typed_comes_back_and_what_stood_there_is_not_lost() {
        let mut editor = with("first");
        editor.take();
        editor.insert("second");
        editor.take();
        editor.insert("draft");
        editor.up();
        check(&editor, "second", "second");
        editor.up();
        editor.up();
        check(&editor, "first", "first");
        editor.down();
        editor.down();
        check(&editor, "draft", "draft");
        editor.down();
        check(&editor, "draft", "draft");
    }

    #[test]
    fn up_and_down_move_through_the_lines_first() {
        let mut editor = with("older");
        editor.take();
        editor.insert("one\ntwo\nthree");
        editor.up();
        check(&editor, "one\ntwo", "one\ntwo\nthree");
        editor.up();
        check(&editor, "one", "one\ntwo\nthree");
        editor.down();
        editor.down();
        check(&editor, "one\ntwo\nthr", "one\ntwo\nthree");
        editor.cut_to_start();
        editor.cut_to_start();
        check(&editor, "one\ntwo", "one\ntwoee");
        editor.home();
        editor.cut_to_end();
        editor.up();
        editor.up();
        check(&editor, "older", "older");
    }
}
