//! `top`: everything at a glance on a whole terminal, until `q`. `chat` has a room of its own.

mod board;
pub(crate) mod chat;
mod draw;
mod paint;
mod stage;

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use p2p_proto::client::Client;
use p2p_proto::v1::{PeersRequest, StatusRequest};
use tokio::signal::unix::{SignalKind, signal};

use crate::command::{Session, live};
use crate::exit::{Exit, Outcome, Stop};
use board::Board;
use stage::Stage;

/// Shows the daemon and its peers, as they change.
pub(crate) async fn run(session: &mut Session) -> Outcome {
    stage::need("top", "for programs: p2pctl peers --watch -o json", session)?;
    // A daemon that was never there is told plainly, before anything is drawn.
    drop(session.client().await?);
    let board = RefCell::new(Board::default());
    let session = &*session;
    let statuses = live::until(
        "top",
        session,
        async |client: Client| client.mesh().watch_status(StatusRequest {}).await,
        |status| {
            board.borrow_mut().take_status(status);
            None::<Infallible>
        },
    );
    let peers = live::until(
        "top",
        session,
        async |client: Client| client.mesh().watch_peers(PeersRequest {}).await,
        |peers| {
            board.borrow_mut().take_peers(peers);
            None::<Infallible>
        },
    );
    // Both streams end only with an error.
    tokio::select! {
        shown = show(&board) => shown,
        ended = statuses => ended.map(|never| match never {}),
        ended = peers => ended.map(|never| match never {}),
    }
}

async fn show(board: &RefCell<Board>) -> Outcome {
    let mut stage = Stage::open()?;
    let mut events = EventStream::new();
    let mut tick = tokio::time::interval(TICK);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    loop {
        stage.draw(|frame| draw::draw(&board.borrow(), frame))?;
        tokio::select! {
            _ = tick.tick() => board.borrow_mut().tick(),
            _ = terminated.recv() => return Err(Stop::Said(Exit::Interrupted)),
            _ = hung_up.recv() => return Err(Stop::Said(Exit::Interrupted)),
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match wish(key) {
                    Wish::Leave => return Ok(()),
                    Wish::Interrupt => return Err(Stop::Said(Exit::Interrupted)),
                    Wish::Nothing => (),
                },
                // A terminal that changed its size is drawn anew.
                Some(Ok(_)) => (),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}

/// What a key means.
enum Wish {
    Leave,
    Interrupt,
    Nothing,
}

fn wish(key: KeyEvent) -> Wish {
    if key.kind != KeyEventKind::Press {
        return Wish::Nothing;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Interrupt,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Wish::Leave,
        _ => Wish::Nothing,
    }
}

/// Between two samples, and the longest before something new is seen.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
