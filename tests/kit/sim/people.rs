//! The users: what they say, when, and what they are told.

use std::collections::BTreeMap;

use p2p_mesh::effect::{Refusal, Sent};
use p2p_mesh::id::PeerId;
use p2p_mesh::input::Draft;
use p2p_mesh::time::Mono;

use super::dice::Dice;
use super::disk::Disk;
use super::network::Place;
use crate::checker::{Operation, Outcome};

/// All users and all they ever said.
#[derive(Debug, Default)]
pub struct People {
    operations: Vec<Operation>,
    /// Sent at least once without an answer, so that a later refusal proves nothing.
    unanswered: Vec<bool>,
    sessions: Vec<Session>,
    waiting: BTreeMap<u64, Waiting>,
    said_at: BTreeMap<String, Mono>,
    tokens: u64,
}

/// A user at a peer, who says one thing after the other.
#[derive(Debug)]
struct Session {
    place: Place,
    author: PeerId,
    /// Sent without an answer, and to be sent again with the same key.
    again: Vec<usize>,
    busy: bool,
    /// The moment of the next word is set.
    due: bool,
}

/// A user's index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SessionId(pub usize);

#[derive(Debug)]
struct Waiting {
    session: SessionId,
    operations: Vec<usize>,
}

/// How a user talks.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How many posts at once.
    pub posts: u64,
    /// Whether they carry keys.
    pub keyed: bool,
}

impl People {
    /// One more user.
    pub fn add_session(&mut self, place: Place, author: PeerId) -> SessionId {
        self.sessions.push(Session { place, author, again: Vec::new(), busy: false, due: false });
        SessionId(self.sessions.len() - 1)
    }

    /// Where the user is.
    #[must_use]
    pub fn place_of(&self, session: SessionId) -> Place {
        self.sessions[session.0].place
    }

    /// The users at a place.
    #[must_use]
    pub fn sessions_at(&self, place: Place) -> Vec<SessionId> {
        let here = self.sessions.iter().enumerate().filter(|(_, session)| session.place == place);
        here.map(|(index, _)| SessionId(index)).collect()
    }

    /// Every user.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        (0..self.sessions.len()).map(SessionId)
    }

    /// The user waits for an answer.
    #[must_use]
    pub fn is_busy(&self, session: SessionId) -> bool {
        self.sessions[session.0].busy
    }

    /// The moment of the user's next word is to be set: `false` if it is set already.
    pub fn set_due(&mut self, session: SessionId) -> bool {
        !std::mem::replace(&mut self.sessions[session.0].due, true)
    }

    /// That moment has come.
    pub fn clear_due(&mut self, session: SessionId) {
        self.sessions[session.0].due = false;
    }

    /// Somebody waits for an answer, or has something to say again.
    #[must_use]
    pub fn is_anybody_waiting(&self) -> bool {
        self.sessions.iter().any(|session| session.busy || !session.again.is_empty())
    }

    /// What the user says next: first again what was not answered.
    pub fn speak(&mut self, session: SessionId, manner: Manner, dice: &mut Dice, now: Mono) -> (u64, Vec<Draft>) {
        let mut operations = std::mem::take(&mut self.sessions[session.0].again);
        if operations.is_empty() {
            operations = (0..manner.posts).map(|_| self.invent(session, manner.keyed, dice, now)).collect();
        }
        self.send(session, operations)
    }

    /// Only what was not answered, if there is any.
    pub fn speak_again(&mut self, session: SessionId) -> Option<(u64, Vec<Draft>)> {
        let operations = std::mem::take(&mut self.sessions[session.0].again);
        if operations.is_empty() { None } else { Some(self.send(session, operations)) }
    }

    /// Something was said by somebody who is no user of ours. It may be shown or not.
    pub fn overhear(&mut self, author: PeerId, text: String) {
        let (key, room) = (None, ROOMS[0].to_owned());
        self.operations.push(Operation { author, session: u64::MAX, key, room, text, outcome: Outcome::Unknown });
        self.unanswered.push(true);
    }

    /// An answer came. Returns who got it.
    pub fn answer(&mut self, token: u64, results: &[Result<Sent, Refusal>]) -> Option<SessionId> {
        let waiting = self.waiting.remove(&token)?;
        for (index, result) in waiting.operations.iter().zip(results) {
            let outcome = match result {
                Ok(sent) => Outcome::Ok(sent.id),
                Err(_) if self.unanswered[*index] => Outcome::Unknown,
                Err(_) => Outcome::Fail,
            };
            self.operations[*index].outcome = outcome;
        }
        self.sessions[waiting.session.0].busy = false;
        Some(waiting.session)
    }

    /// The process at `place` is gone: what was not answered never will be. Returns who waited.
    pub fn process_gone(&mut self, place: Place) -> Vec<SessionId> {
        let mut waited = Vec::new();
        let gone = |waiting: &Waiting| self.sessions[waiting.session.0].place == place;
        let tokens: Vec<u64> = self.waiting.iter().filter(|(_, w)| gone(w)).map(|(token, _)| *token).collect();
        for token in tokens {
            let Some(Waiting { session, operations }) = self.waiting.remove(&token) else { continue };
            for index in operations {
                self.unanswered[index] = true;
                if self.operations[index].key.is_some() {
                    self.sessions[session.0].again.push(index);
                }
            }
            self.sessions[session.0].busy = false;
            waited.push(session);
        }
        waited
    }

    /// The disk at `place` became an old one: nothing is promised any more of what it does not hold.
    pub fn disk_replaced(&mut self, place: Place, author: PeerId, disk: &Disk) {
        for operation in self.operations.iter_mut().filter(|operation| operation.author == author) {
            let Outcome::Ok(id) = operation.outcome else { continue };
            if !disk.holds_number(id.feed, id.seq) {
                operation.outcome = Outcome::Unknown;
            }
        }
        for session in self.sessions.iter_mut().filter(|session| session.place == place) {
            session.again.clear();
        }
    }

    /// When a text was said first.
    #[must_use]
    pub fn said_at(&self, text: &str) -> Option<Mono> {
        self.said_at.get(text).copied()
    }

    /// Everything that was said.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    fn invent(&mut self, session: SessionId, keyed: bool, dice: &mut Dice, now: Mono) -> usize {
        let index = self.operations.len();
        let Session { place, author, .. } = self.sessions[session.0];
        // The number makes every text unlike all others, so that latencies can be told apart.
        let text = format!("{}.{index} {}", place.0, dice.pick(&TEXTS));
        self.said_at.insert(text.clone(), now);
        self.operations.push(Operation {
            author,
            session: session.0 as u64,
            key: keyed.then(|| format!("key-{index}")),
            room: dice.pick(&ROOMS).to_owned(),
            text,
            outcome: Outcome::Unknown,
        });
        self.unanswered.push(false);
        index
    }

    fn send(&mut self, session: SessionId, operations: Vec<usize>) -> (u64, Vec<Draft>) {
        self.tokens += 1;
        let draft = |index: &usize| {
            let Operation { room, text, key, .. } = &self.operations[*index];
            Draft {
                room: room.clone(),
                text: text.clone(),
                re: None,
                key: key.clone(),
                direct: None,
                is_network: false,
            }
        };
        let drafts = operations.iter().map(draft).collect();
        self.sessions[session.0].busy = true;
        self.waiting.insert(self.tokens, Waiting { session, operations });
        (self.tokens, drafts)
    }
}

/// The first is the one strangers talk in.
pub const ROOMS: [&str; 2] = ["general", "music"];
const TEXTS: [&str; 6] = [
    "x",
    "Wer reitet so spät durch Nacht und Wind?",
    "\u{202e}evil\u{1b}[2J \"quotes\" \\ \u{2028}",
    "床前明月光\n疑是地上霜",
    "👩‍👩‍👧‍👦 e\u{301}",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it \
     was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of \
     Darkness, it was the spring of hope, it was the winter of despair",
];
