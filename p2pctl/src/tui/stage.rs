//! A terminal that is ours for a while.

use std::io::{self, stdout};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{BeginSynchronizedUpdate, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate};
use ratatui::layout::Size;
use ratatui::{DefaultTerminal, Frame};

use super::paint::Paint;
use crate::command::Session;
use crate::exit::{Outcome, Problem};

/// The whole terminal, which is given back however we leave.
pub(super) struct Stage {
    terminal: DefaultTerminal,
    paint: Paint,
}

impl Stage {
    /// Also restores the terminal before a panic is told.
    pub(super) fn open() -> io::Result<Self> {
        let stage = Self { terminal: ratatui::try_init()?, paint: Paint::default() };
        // A text of several lines comes as one, and not as somebody who types. What a terminal takes for wider than we do
        // must not reach into the next row.
        execute!(stdout(), EnableBracketedPaste, DisableLineWrap)?;
        Ok(stage)
    }

    pub(super) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Shows a picture, at once where the terminal can.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        execute!(stdout(), BeginSynchronizedUpdate)?;
        let drawn = self.terminal.draw(draw)?;
        self.paint.mend(drawn.buffer, &mut stdout())?;
        execute!(stdout(), EndSynchronizedUpdate)
    }

    /// Forgets what the terminal shows: all of it is drawn next time.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.paint.forget();
        self.terminal.clear()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = execute!(stdout(), DisableBracketedPaste, EnableLineWrap);
        // What a panic says stands there already, below what was there before us.
        if !std::thread::panicking() {
            ratatui::restore();
        }
    }
}

/// Refuses to draw where nobody could see it. `hint` is what to use there.
pub(super) fn need(what: &str, hint: &str, session: &Session) -> Outcome {
    let terminals = session.io.terminals;
    if terminals.stdin && terminals.stdout && session.fancy {
        return Ok(());
    }
    Err(Problem::usage(format!("{what}: needs a terminal")).with_hint(hint).into())
}
