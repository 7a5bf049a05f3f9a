//! Where something is said: in a room, or between us and one member. Both stand in one list, the latter as `@` and an id,
//! which is no room's name.

use p2p_proto::v1::{Outgoing, Post};

use super::posts::author;
use super::state::Chat;
use crate::command::who;
use crate::output::escape;

/// What we and a member say to each other.
pub(super) fn between(id: &str) -> String {
    format!("{MARK}{id}")
}

/// The other end; none where it is a room.
pub(super) fn peer_of(talk: &str) -> Option<&str> {
    talk.strip_prefix(MARK)
}

/// Where a post was said; none for a room that somebody named as if it were a talk.
pub(super) fn of(post: &Post) -> Option<String> {
    match post {
        Post { direct: true, own: true, to, .. } => Some(between(to)),
        Post { direct: true, .. } => Some(between(author(post))),
        Post { room, .. } => is_room(room).then(|| room.clone()),
    }
}

/// Whether it is a room that can be in the list.
pub(super) fn is_room(name: &str) -> bool {
    !name.starts_with(MARK)
}

/// Where a message that is not sent yet will be said.
pub(super) fn of_unsent(post: &Outgoing) -> String {
    if post.to.is_empty() { post.room.clone() } else { between(&post.to) }
}

/// A message to be said there.
pub(super) fn outgoing(talk: String, text: String) -> Outgoing {
    match peer_of(&talk) {
        Some(id) => Outgoing { to: id.to_owned(), text, ..Outgoing::default() },
        None => Outgoing { room: talk, text, ..Outgoing::default() },
    }
}

impl Chat {
    /// How it is called in lists.
    pub(super) fn title(&self, talk: &str) -> String {
        let Some(id) = peer_of(talk) else { return escape::name(talk) };
        let peer = self.peers.iter().find(|peer| peer.id == id);
        format!("{MARK}{}", self.name(peer.map_or("", |peer| &peer.name), id))
    }

    /// What stands behind `/msg`: the id of a member, and a text, which may be empty. A name is one word, unless nobody is
    /// called by that word.
    ///
    /// # Errors
    ///
    /// Nobody is called so, or several are.
    pub(super) fn addressed(&self, typed: &str) -> Result<(String, String), String> {
        let ends = typed.match_indices(char::is_whitespace).map(|(at, _)| at).chain([typed.len()]);
        let mut first = None;
        for end in ends {
            let (name, text) = typed.split_at(end);
            match who::find(&self.peers, name) {
                Ok(peer) => return Ok((peer.id.clone(), text.trim().to_owned())),
                Err(problem) if problem.exit == crate::exit::Exit::Conflict => return Err(problem.message),
                Err(problem) => first = first.or(Some(problem.message)),
            }
        }
        Err(first.unwrap_or_default())
    }
}

const MARK: char = '@';
