//! What was typed and is not yet known to be on disk.

use std::collections::VecDeque;

use p2p_proto::v1::{Outgoing, PostId};

use super::talk;

/// How far one message is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// One before it is on its way.
    Waiting,
    Sending,
    /// It did not work yet, for this reason; it is tried again.
    Delayed(String),
    /// The daemon does not want it.
    Refused(String),
}

/// One message.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Unsent {
    pub(super) post: Outgoing,
    pub(super) progress: Progress,
    /// It came back as a post already, before its answer.
    pub(super) seen: bool,
}

/// Messages in the order they were typed. One is on its way at a time, so they stay in that order.
#[derive(Debug)]
pub(super) struct Outbox {
    messages: VecDeque<Unsent>,
    /// The start of every key: of this run alone.
    key: String,
    count: u64,
}

impl Outbox {
    pub(super) fn new(key: String) -> Self {
        Self { messages: VecDeque::new(), key, count: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= UNSENT_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unsent> {
        self.messages.iter()
    }

    /// Those of a room that are not among its posts yet.
    pub(super) fn of(&self, room: &str) -> impl Iterator<Item = &Unsent> {
        self.messages.iter().filter(move |message| talk::of_unsent(&message.post) == room && !message.seen)
    }

    pub(super) fn push(&mut self, room: String, text: String, re: Option<PostId>) {
        self.count += 1;
        let key = format!("{}/{}", self.key, self.count);
        let post = Outgoing { re, key, ..talk::outgoing(room, text) };
        self.messages.push_back(Unsent { post, progress: Progress::Waiting, seen: false });
    }

    /// The next to be sent, if none is on its way.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let next = self.messages.iter_mut().find(|message| !matches!(message.progress, Progress::Refused(_)))?;
        if next.progress != Progress::Waiting {
            return None;
        }
        next.progress = Progress::Sending;
        Some(next.post.clone())
    }

    /// It is on disk.
    pub(super) fn take(&mut self, key: &str) -> Option<Unsent> {
        let at = self.messages.iter().position(|message| message.post.key == key)?;
        self.messages.remove(at)
    }

    pub(super) fn set(&mut self, key: &str, progress: Progress) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.post.key == key) {
            message.progress = progress;
        }
    }

    pub(super) fn see(&mut self, key: &str) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.post.key == key) {
            message.seen = true;
        }
    }

    /// Tries what was refused once more, under its old key.
    pub(super) fn retry(&mut self) -> usize {
        let refused = self.messages.iter_mut().filter(|message| message.is_refused());
        refused.map(|message| message.progress = Progress::Waiting).count()
    }

    /// Gives up what was refused, and what was never on its way. The one that is may be on disk already.
    pub(super) fn give_up(&mut self) -> usize {
        let before = self.messages.len();
        self.messages.retain(|message| match message.progress {
            Progress::Sending | Progress::Delayed(_) => true,
            Progress::Waiting | Progress::Refused(_) => false,
        });
        before - self.messages.len()
    }
}

impl Unsent {
    fn is_refused(&self) -> bool {
        matches!(self.progress, Progress::Refused(_))
    }
}

/// Messages that wait for a daemon that is gone.
pub(super) const UNSENT_MAX: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_message_is_on_its_way_at_a_time_and_a_refused_one_holds_up_nobody() {
        let mut outbox = Outbox::new("key".to_owned());
        for text in ["one", "two", "three"] {
            outbox.push("general".to_owned(), text.to_owned(), None);
        }
        let first = outbox.next().unwrap();
        assert_eq!((first.text.as_str(), first.key.as_str()), ("one", "key/1"));
        outbox.set("key/1", Progress::Delayed("gone".to_owned()));
        assert_eq!(outbox.next(), None);
        outbox.set("key/1", Progress::Refused("no".to_owned()));
        assert_eq!(outbox.next().unwrap().text, "two");
        outbox.take("key/2");
        assert_eq!(outbox.retry(), 1);
        assert_eq!(outbox.next().unwrap(), first, "the same message has the same key");
        outbox.set("key/1", Progress::Refused("no".to_owned()));
        outbox.push("general".to_owned(), "four".to_owned(), None);
        assert_eq!(outbox.next().unwrap().text, "three");
        assert_eq!((outbox.give_up(), outbox.iter().count()), (2, 1), "three is on its way");
    }
}
