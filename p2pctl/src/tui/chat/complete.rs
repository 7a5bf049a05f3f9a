//! Tab: commands, rooms and names.

use super::state::Chat;
use super::talk;
use super::words::COMMANDS;

impl Chat {
    /// Completes the word before the cursor; again, with the next that fits.
    pub(super) fn complete(&mut self) {
        let (bytes, mut fitting) = match self.completion.take() {
            Some(begun) => begun,
            None => self.fitting(),
        };
        if fitting.is_empty() {
            return self.tell("nothing begins like that");
        }
        let chosen = fitting.remove(0);
        self.editor.replace_before(bytes, &chosen);
        if fitting.is_empty() {
            return;
        }
        self.tell(format!("Tab: {}", fitting.join(" ")));
        let bytes = chosen.len();
        fitting.push(chosen);
        self.completion = Some((bytes, fitting));
    }

    /// How many bytes before the cursor are the word, and what may stand there, in its order.
    fn fitting(&self) -> (usize, Vec<String>) {
        let before = self.editor.before_cursor();
        let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        let line = &before[..before.len() - word.len()];
        let lower = word.to_lowercase();
        let begins = |name: &&String| name.to_lowercase().starts_with(&lower);
        let found: Vec<String> = match line.trim() {
            "" if word.starts_with('/') => {
                COMMANDS.iter().map(|name| format!("{name} ")).filter(|name| name.starts_with(&lower)).collect()
            }
            "/join" => self
                .rooms
                .keys()
                .filter(|room| **room != self.room && talk::is_room(room))
                .filter(begins)
                .cloned()
                .collect(),
            "/msg" if word.is_empty() => self.people.iter().map(|name| format!("{name} ")).collect(),
            _ if word.is_empty() => Vec::new(),
            _ => self.people.iter().filter(begins).map(|name| format!("{name} ")).collect(),
        };
        (word.len(), found.into_iter().take(FITTING_MAX).collect())
    }
}

/// Nobody goes through more of them.
const FITTING_MAX: usize = 50;
