//! The judge: did the mesh keep its promise?
//!
//! An acknowledged send is on disk; it reaches every member that ever connects again, exactly once, in its author's
//! order, unaltered and provably its author's. The checker is given what the users did and what the peers show, as
//! plain data, so that the same code judges simulated and real peers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use p2p_mesh::envelope::{AuthorKey, Envelope};
use p2p_mesh::feed::IntervalSet;
use p2p_mesh::id::{Instance, Offset, PeerId, PostId, Seq};

/// One thing a user tried to say, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The peer it was said at.
    pub author: PeerId,
    /// Operations of one session were said one after the other, each after the answer to the one before.
    pub session: u64,
    /// The idempotency key.
    pub key: Option<String>,
    /// Where.
    pub room: String,
    /// What.
    pub text: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Acknowledged: it must be in every history.
    Ok(PostId),
    /// Refused: it must be in none.
    Fail,
    /// No answer came: it may be in all histories or in none.
    Unknown,
}

/// What one peer shows, from the first post to the last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Who shows it, for people.
    pub peer: String,
    /// In the order in which it was shown.
    pub posts: Vec<Shown>,
    /// Numbers of which it was said that they cannot be shown: first and last of each stretch.
    pub gaps: Vec<(Instance, Seq, Seq)>,
}

/// One post as a peer shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Its place in the local order of arrival.
    pub offset: Offset,
    /// Its name.
    pub id: PostId,
    /// The idempotency key.
    pub key: Option<String>,
    /// Where.
    pub room: String,
    /// What.
    pub text: String,
    /// It was said that it may sort before what was shown already.
    pub late: bool,
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// One peer showed one post twice.
    DeliveredTwice {
        /// Who.
        peer: String,
        /// Which post.
        id: PostId,
    },
    /// A post that was not said to be late came behind a later one of its feed.
    OutOfOrder {
        /// Who showed it.
        peer: String,
        /// Which post.
        id: PostId,
    },
    /// A feed was shown with a hole that was never filled or told of.
    Hole {
        /// Who.
        peer: String,
        /// What was shown.
        id: PostId,
        /// The number that should have come.
        expected: u64,
    },
    /// Offsets do not grow.
    OffsetOrder {
        /// Who.
        peer: String,
        /// The offset that came too late.
        offset: Offset,
    },
    /// A post that nobody said, or that was refused.
    NotSent {
        /// Who shows it.
        peer: String,
        /// Which post.
        id: PostId,
        /// What it says.
        text: String,
    },
    /// A post differs from what was said.
    Altered {
        /// Who shows it.
        peer: String,
        /// Which post.
        id: PostId,
    },
    /// An acknowledged post is not in a history.
    AckLost {
        /// Who lacks it.
        peer: String,
        /// Which post.
        id: PostId,
    },
    /// Two operations were acknowledged with one number, or one number says two things.
    NumberReused {
        /// Which.
        id: PostId,
    },
    /// One key of one author names two posts.
    KeyTwice {
        /// The key.
        key: String,
        /// The second post.
        id: PostId,
    },
    /// A session's acknowledged posts are not in the order in which they were said.
    AckOrder {
        /// The one that is too early.
        id: PostId,
    },
    /// Two histories differ in the end.
    Unequal {
        /// Who has the post.
        has: String,
        /// Who lacks it.
        lacks: String,
        /// The post.
        id: PostId,
        /// How many are lacking.
        count: usize,
    },
    /// A stored envelope is not valid or not signed by its author.
    BadSignature {
        /// Who stores it.
        peer: String,
        /// Which feed; none where it cannot even be read.
        feed: Option<Instance>,
    },
    /// A stored envelope does not continue the one before.
    BrokenChain {
        /// Who stores it.
        peer: String,
        /// Its first post.
        id: PostId,
    },
    /// Something else that must always hold did not.
    Invariant {
        /// Who.
        peer: String,
        /// What.
        what: String,
    },
}

/// Checks one history or stream on its own: nothing twice, growing offsets, and what is not late in its author's
/// order.
#[must_use]
pub fn check_stream(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut feeds: BTreeMap<Instance, (IntervalSet, Seq)> = BTreeMap::new();
    let mut newest_offset = None;
    let peer = || history.peer.clone();
    for post in &history.posts {
        let (numbers, newest) = feeds.entry(post.id.feed).or_default();
        let seq = post.id.seq;
        if numbers.contains(seq, seq) {
            violations.push(Violation::DeliveredTwice { peer: peer(), id: post.id });
        } else if !post.late && seq < *newest {
            violations.push(Violation::OutOfOrder { peer: peer(), id: post.id });
        }
        numbers.insert(seq, seq);
        if !post.late {
            *newest = seq.max(*newest);
        }
        if newest_offset.is_some_and(|newest| newest >= post.offset) {
            violations.push(Violation::OffsetOrder { peer: peer(), offset: post.offset });
        }
        newest_offset = newest_offset.max(Some(post.offset));
    }
    violations
}

/// Checks that a stream that is at its end left no number out but those that it told of. A stream may begin in the
/// middle of a feed only where `begins` allows it.
#[must_use]
pub fn check_whole(history: &History, begins: Begins) -> Vec<Violation> {
    let mut feeds: BTreeMap<Instance, IntervalSet> = BTreeMap::new();
    for post in &history.posts {
        feeds.entry(post.id.feed).or_default().insert(post.id.seq, post.id.seq);
    }
    let mut violations = Vec::new();
    for (feed, mut numbers) in feeds {
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { continue };
        let begin = match begins {
            Begins::AtTheFirst => Seq(1),
            Begins::Anywhere => first,
        };
        let told = history.gaps.iter().filter(|(of, _, _)| *of == feed);
        told.for_each(|(_, from, to)| numbers.insert(*from, *to));
        for (from, to) in numbers.gaps(begin, last, usize::MAX) {
            let id = PostId { feed, seq: to.next() };
            violations.push(Violation::Hole { peer: history.peer.clone(), id, expected: from.0 });
        }
    }
    violations
}

/// Where a stream may begin in each feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    /// With number 1.
    AtTheFirst,
    /// With any number: the reader resumed.
    Anywhere,
}

/// Checks that a history shows only what was said, as it was said, by whom it was said, and each key once.
#[must_use]
pub fn check_content(operations: &[Operation], history: &History) -> Vec<Violation> {
    let mut sent = Sent::of(operations);
    let mut violations = Vec::new();
    let mut keys: BTreeMap<(PeerId, &str), PostId> = BTreeMap::new();
    for post in &history.posts {
        let peer = history.peer.clone();
        match sent.take(post) {
            Match::Same => (),
            Match::Different => violations.push(Violation::Altered { peer, id: post.id }),
            Match::Nothing => violations.push(Violation::NotSent { peer, id: post.id, text: post.text.clone() }),
        }
        let Some(key) = &post.key else { continue };
        let used = *keys.entry((post.id.feed.id, key)).or_insert(post.id);
        if used != post.id {
            violations.push(Violation::KeyTwice { key: key.clone(), id: post.id });
        }
    }
    violations
}

/// Checks the acknowledgements among themselves: no number twice, and each session's posts in order.
#[must_use]
pub fn check_acks(operations: &[Operation]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut by_id: BTreeMap<PostId, &Operation> = BTreeMap::new();
    let mut newest: BTreeMap<(PeerId, u64), PostId> = BTreeMap::new();
    for operation in operations {
        let Outcome::Ok(id) = operation.outcome else { continue };
        let same =
            |other: &Operation| other.key.is_some() && other.key == operation.key && other.text == operation.text;
        if id.feed.id != operation.author || by_id.insert(id, operation).is_some_and(|other| !same(other)) {
            violations.push(Violation::NumberReused { id });
        }
        let newest = newest.entry((operation.author, operation.session)).or_insert(id);
        // A key that is said again is answered with the old post, so only what is new can be out of order.
        if id.feed.epoch == newest.feed.epoch && id.seq < newest.seq && operation.key.is_none() {
            violations.push(Violation::AckOrder { id });
        }
        *newest = id.max(*newest);
    }
    violations
}

/// Checks the histories at the end, when everybody could talk to everybody: every acknowledged post is everywhere, and
/// all histories hold the same posts with the same content.
#[must_use]
pub fn check_end(operations: &[Operation], histories: &[History]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let sets: Vec<BTreeSet<PostId>> = histories.iter().map(|h| h.posts.iter().map(|post| post.id).collect()).collect();
    for operation in operations {
        let Outcome::Ok(id) = operation.outcome else { continue };
        for (history, _) in histories.iter().zip(&sets).filter(|(_, set)| !set.contains(&id)) {
            violations.push(Violation::AckLost { peer: history.peer.clone(), id });
        }
    }
    violations.extend(unequal(histories, &sets));
    let mut contents: BTreeMap<PostId, &Shown> = BTreeMap::new();
    for post in histories.iter().flat_map(|history| &history.posts) {
        let first = *contents.entry(post.id).or_insert(post);
        if (&first.text, &first.room, &first.key) != (&post.text, &post.room, &post.key) {
            violations.push(Violation::NumberReused { id: post.id });
        }
    }
    violations
}

/// Checks what a peer stores, in whatever order it was stored: every envelope is valid, signed by its author, and
/// continues the one before it in its feed, where that is stored.
#[must_use]
pub fn check_envelopes(peer: &str, stored: impl IntoIterator<Item = (Bytes, [u8; 64])>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut feeds: BTreeMap<Instance, Vec<Envelope>> = BTreeMap::new();
    for (body, signature) in stored {
        let Ok(envelope) = Envelope::parse(body, signature) else {
            violations.push(Violation::BadSignature { peer: peer.to_owned(), feed: None });
            continue;
        };
        let feed = envelope.feed();
        let verified = AuthorKey::new(&feed.id).and_then(|key| envelope.clone().verify(&key));
        if verified.is_err() {
            violations.push(Violation::BadSignature { peer: peer.to_owned(), feed: Some(feed) });
        }
        feeds.entry(feed).or_default().push(envelope);
    }
    for (feed, mut envelopes) in feeds {
        envelopes.sort_by_key(Envelope::first);
        for pair in envelopes.windows(2).filter(|pair| !is_chained(&pair[0], &pair[1])) {
            let id = PostId { feed, seq: pair[1].first() };
            violations.push(Violation::BrokenChain { peer: peer.to_owned(), id });
        }
    }
    violations
}

/// Whether the second of two envelopes continues the first, or leaves a gap behind it.
fn is_chained(one: &Envelope, two: &Envelope) -> bool {
    let is_beyond = two.first() > one.last().next();
    let continues = two.body().prev == Some(one.hash()) && two.body().at > one.body().last_at();
    is_beyond || (two.first() == one.last().next() && continues)
}

/// One example for each pair of the first history and another that differs.
fn unequal(histories: &[History], sets: &[BTreeSet<PostId>]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (Some(first), Some(first_set)) = (histories.first(), sets.first()) else { return violations };
    let mut compare = |has: &History, has_set: &BTreeSet<PostId>, lacks: &History, lacks_set: &BTreeSet<PostId>| {
        let mut missing = has_set.difference(lacks_set);
        let Some(id) = missing.next().copied() else { return };
        let (has, lacks) = (has.peer.clone(), lacks.peer.clone());
        violations.push(Violation::Unequal { has, lacks, id, count: 1 + missing.count() });
    };
    for (history, set) in histories.iter().zip(sets).skip(1) {
        compare(first, first_set, history, set);
        compare(history, set, first, first_set);
    }
    violations
}

/// Everything that was said, to be matched with what is shown.
struct Sent<'a> {
    acknowledged: BTreeMap<PostId, &'a Operation>,
    /// How often each may still be shown without being acknowledged.
    unknown: BTreeMap<Said<'a>, usize>,
}

type Said<'a> = (PeerId, Option<&'a str>, &'a str, &'a str);

enum Match {
    Same,
    Different,
    Nothing,
}

impl<'a> Sent<'a> {
    fn of(operations: &'a [Operation]) -> Self {
        let mut sent = Self { acknowledged: BTreeMap::new(), unknown: BTreeMap::new() };
        for operation in operations {
            let said = (operation.author, operation.key.as_deref(), operation.room.as_str(), operation.text.as_str());
            match operation.outcome {
                Outcome::Ok(id) => drop(sent.acknowledged.insert(id, operation)),
                Outcome::Unknown => *sent.unknown.entry(said).or_default() += 1,
                Outcome::Fail => (),
            }
        }
        sent
    }

    fn take(&mut self, post: &'a Shown) -> Match {
        let said = (post.id.feed.id, post.key.as_deref(), post.room.as_str(), post.text.as_str());
        if let Some(operation) = self.acknowledged.get(&post.id) {
            let want = (operation.author, operation.key.as_deref(), operation.room.as_str(), operation.text.as_str());
            return if want == said { Match::Same } else { Match::Different };
        }
        let Some(left) = self.unknown.get_mut(&said).filter(|left| **left > 0) else { return Match::Nothing };
        *left -= 1;
        Match::Same
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeliveredTwice { peer, id } => write!(f, "{peer} showed {id} twice"),
            Self::OutOfOrder { peer, id } => write!(f, "{peer} showed {id} behind a later post, and not as late"),
            Self::Hole { peer, id, expected } => write!(f, "{peer} showed {id} and never number {expected}"),
            Self::OffsetOrder { peer, offset } => write!(f, "{peer} gave offset {} after a later one", offset.0),
            Self::NotSent { peer, id, text } => write!(f, "{peer} shows {id}, which nobody said: {text:?}"),
            Self::Altered { peer, id } => write!(f, "{peer} shows {id} with other content than was said"),
            Self::AckLost { peer, id } => write!(f, "{peer} lacks {id}, which was acknowledged"),
            Self::NumberReused { id } => write!(f, "the number {id} was used twice"),
            Self::KeyTwice { key, id } => write!(f, "the key {key:?} names a second post, {id}"),
            Self::AckOrder { id } => write!(f, "{id} was said after a post with a higher number"),
            Self::Unequal { has, lacks, id, count } => {
                write!(f, "{lacks} lacks {count} posts that {has} has, the first is {id}")
            }
            Self::BadSignature { peer, feed: Some(feed) } => {
                write!(f, "{peer} stores an envelope of {feed:?} that its author did not sign")
            }
            Self::BadSignature { peer, feed: None } => write!(f, "{peer} stores what is no envelope"),
            Self::BrokenChain { peer, id } => write!(f, "{peer} stores {id} behind an envelope it does not continue"),
            Self::Invariant { peer, what } => write!(f, "{peer}: {what}"),
        }
    }
}

#[cfg(test)]
mod tests;
