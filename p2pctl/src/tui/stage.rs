//! A terminal that is ours for a while.

use std::io::{self, stdout};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use ratatui::DefaultTerminal;

use crate::command::Session;
use crate::exit::{Outcome, Problem};

/// The whole terminal, which is given back however we leave.
pub(super) struct Stage(DefaultTerminal);

impl Stage {
    /// Also restores the terminal before a panic is told.
    pub(super) fn open() -> io::Result<Self> {
        let stage = Self(ratatui::try_init()?);
        // A text of several lines comes as one, and not as somebody who types.
        execute!(stdout(), EnableBracketedPaste)?;
        Ok(stage)
    }

    pub(super) fn terminal(&mut self) -> &mut DefaultTerminal {
        &mut self.0
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = execute!(stdout(), DisableBracketedPaste);
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
