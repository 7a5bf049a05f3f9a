//! `chat`: rooms, posts, members and a line to type in, on the whole terminal.
//!
//! [`Chat`] is all of it but the terminal and the daemon: keys and answers go in, effects come out, and [`draw`] shows what it
//! is. `desk` carries the effects out.

mod complete;
mod desk;
mod draw;
mod editor;
mod fetch;
mod keys;
mod lines;
mod outbox;
mod panel;
mod panes;
mod posts;
mod state;
mod talk;
mod timeline;
mod view;
mod words;
mod wrap;

use p2p_proto::v1::{HistoryRequest, StatusResponse};

use super::stage;
use crate::args;
use crate::command::{self, Session};
use crate::exit::Outcome;
use crate::parse;
use desk::Desk;
use state::Chat;

/// Shows the room and what is said there, until the user leaves.
pub(crate) async fn run(args: args::Chat, session: &mut Session) -> Outcome {
    stage::need("chat", "without one: p2pctl watch and p2pctl send", session)?;
    let room = args.room.as_deref().map(parse::room).transpose()?;
    // A daemon that was never there is told plainly, before anything is drawn.
    let status = command::fetch_status("chat", session).await?;
    let chat = begin(status, room, session).await?;
    let (outcome, unsent) = Desk::new(chat, session).run().await;
    for (room, text) in unsent {
        session.warn(&format!("not sent to {room}: {text}"));
    }
    outcome
}

async fn begin(status: StatusResponse, room: Option<String>, session: &mut Session) -> Outcome<Chat> {
    let client = session.client().await?;
    // What comes from here on is new.
    let end = HistoryRequest { limit: 1, ..HistoryRequest::default() };
    let offset = session.answer("chat", client.chat().history(end)).await?.offset;
    let room = room.unwrap_or_else(|| status.default_room.clone());
    // Nobody else uses this key: a moment, and a process of it.
    let key = format!("chat-{:x}-{:x}", (session.io.now)().as_microsecond(), std::process::id());
    let mut chat = Chat::new(status, room, key, offset);
    (chat.color, chat.zone, chat.now) = (session.style.color, session.style.zone.clone(), (session.io.now)());
    Ok(chat)
}

#[cfg(test)]
mod tests;
