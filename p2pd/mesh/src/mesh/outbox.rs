//! What our own user says: checked, sealed together with whatever else waits, answered when it is flushed.

use std::collections::{BTreeMap, VecDeque};

use super::{Mesh, Pending};
use crate::effect::{Effect, Refusal, Sent};
use crate::envelope::{Body, CHAT, DIRECT, NETWORK, Post, VerifiedEnvelope};
use crate::id::{Hash, INTEGER_END, PostId, Seq};
use crate::input::{Draft, KeyedPost, Ticket};
use crate::limits::{
    BACKLOG_BYTES_MAX, BACKLOG_WAIT, BODY_LEN_MAX, KEY_LEN_MAX, OUTBOX_BYTES_MAX, OUTBOX_POSTS_MAX,
    POSTS_PER_ENVELOPE_MAX, ROOM_LEN_MAX, SEAL_BYTES_MAX, TEXT_LEN_MAX,
};
use crate::status::Count;
use crate::time::{Mono, Now};
use crate::timers::Timer;
use crate::tree::Push;

/// Posts on their way into envelopes.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// In the order they were said. Those taken out at the front are counted, so that a place stays a name.
    entries: VecDeque<Entry>,
    taken: u64,
    bytes: usize,
    publishes: BTreeMap<u64, Publishing>,
    keys: BTreeMap<String, KeyInFlight>,
    lookups: BTreeMap<Ticket, Vec<String>>,
    /// The append that holds the last sealed envelopes: while it is flushed, what is said waits and shares the next.
    sealed: Option<Ticket>,
    /// Since when what is said waits for the links.
    held_back: Option<Mono>,
}

/// One post that waits.
#[derive(Clone, Debug)]
struct Entry {
    /// Who is answered; nobody where it is said again by ourselves.
    slot: Slot,
    draft: Draft,
    /// The post that it says again.
    was: Option<PostId>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The store is asked whether its key is known.
    Lookup,
    /// It can be sealed.
    Ready,
    /// It is answered already.
    Answered,
}

/// Where an answer goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    token: u64,
    index: usize,
    key: Option<String>,
}

/// The posts of one envelope to be.
struct Next {
    posts: Vec<Post>,
    slots: Vec<Slot>,
    /// The same posts as the body has them.
    encoded: Vec<u8>,
}

/// A command that waits for its last answer.
#[derive(Clone, Debug)]
struct Publishing {
    results: Vec<Option<Result<Sent, Refusal>>>,
    left: usize,
}

/// A key between its first use and the flush.
#[derive(Clone, Debug)]
struct KeyInFlight {
    content: Hash,
    /// Its place among all entries ever.
    place: u64,
    /// The same key again, meanwhile.
    followers: Vec<(Slot, Hash)>,
}

impl Mesh {
    pub(super) fn on_publish(&mut self, token: u64, posts: Vec<Draft>) {
        let publishing = Publishing { results: vec![None; posts.len()], left: posts.len() };
        if posts.is_empty() {
            self.effects.push_back(Effect::Published { token, results: Vec::new() });
            return;
        }
        self.outbox.publishes.insert(token, publishing);
        let mut unknown_keys = Vec::new();
        for (index, draft) in posts.into_iter().enumerate() {
            let slot = Slot { token, index, key: draft.key.clone() };
            match self.check(&draft) {
                Ok(()) => unknown_keys.extend(self.outbox.enqueue(slot, draft)),
                Err(refusal) => self.answer(&slot, Err(refusal)),
            }
        }
        if !unknown_keys.is_empty() {
            let ticket = self.ticket();
            self.effects.push_back(Effect::FindKeys { ticket, keys: unknown_keys.clone() });
            self.outbox.lookups.insert(ticket, unknown_keys);
        }
    }

    fn check(&self, draft: &Draft) -> Result<(), Refusal> {
        if self.is_leaving {
            return Err(Refusal::Stopping);
        }
        check_draft(draft)?;
        let posts = self.outbox.entries.len();
        if posts >= OUTBOX_POSTS_MAX || self.outbox.bytes + draft.said_len() > OUTBOX_BYTES_MAX {
            return Err(Refusal::Busy { posts });
        }
        Ok(())
    }

    pub(super) fn on_keys_found(&mut self, ticket: Ticket, posts: Vec<Option<KeyedPost>>) {
        let Some(keys) = self.outbox.lookups.remove(&ticket) else { return };
        for (key, post) in keys.into_iter().zip(posts) {
            let Some(in_flight) = self.outbox.keys.get(&key) else { continue };
            let (content, place) = (in_flight.content, in_flight.place);
            let state = if post.is_some() { State::Answered } else { State::Ready };
            let entry = self.outbox.entry_mut(place);
            let slot = entry.map(|entry| {
                entry.state = state;
                entry.slot.clone()
            });
            if let (Some(post), Some(slot)) = (post, slot) {
                self.answer(&slot, repeated(&key, &post, content));
                self.finish_key(&key, |content| repeated(&key, &post, content));
            }
        }
    }

    /// Answers everybody who used this key meanwhile.
    fn finish_key(&mut self, key: &str, result: impl Fn(Hash) -> Result<Sent, Refusal>) {
        let Some(in_flight) = self.outbox.keys.remove(key) else { return };
        for (slot, content) in in_flight.followers {
            self.answer(&slot, result(content));
        }
    }

    fn answer(&mut self, slot: &Slot, result: Result<Sent, Refusal>) {
        let Some(publishing) = self.outbox.publishes.get_mut(&slot.token) else { return };
        publishing.results[slot.index] = Some(result);
        publishing.left -= 1;
        if publishing.left > 0 {
            return;
        }
        if let Some(publishing) = self.outbox.publishes.remove(&slot.token) {
            let results = publishing.results.into_iter().flatten().collect();
            self.effects.push_back(Effect::Published { token: slot.token, results });
        }
    }

    /// An own post that lost its number is said again; `false` where it does not fit.
    pub(super) fn say_again(&mut self, was: PostId, post: Post) -> bool {
        let is_said_here = post.kind == CHAT || post.kind == NETWORK || post.direct.is_some();
        let draft = draft_of(post);
        let again = post_of(draft.clone(), Some(was));
        let mut encoded = Vec::new();
        again.encode_into(&mut encoded);
        if !is_said_here || encoded.len() > BODY_LEN_MAX - BODY_OVERHEAD {
            return false;
        }
        let slot = Slot { token: NOBODY, index: 0, key: None };
        self.outbox.bytes += draft.said_len();
        self.outbox.entries.push_back(Entry { slot, draft, was: Some(was), state: State::Ready });
        true
    }

    /// Seals all that can be sealed, unless the last seal is still being flushed.
    pub(super) fn seal(&mut self, now: Now) {
        if self.outbox.sealed.is_some() || self.outbox.entries.is_empty() || !self.may_sign() {
            return;
        }
        if let Some(at) = self.pace.wait_until(now.mono).filter(|_| self.outbox.entries.len() < POSTS_PER_ENVELOPE_MAX)
        {
            self.timers.set_once(Timer::Seal, at);
            return;
        }
        if self.holds_back(now) {
            return;
        }
        let mut bytes = 0;
        let mut sealed = Vec::new();
        while bytes < SEAL_BYTES_MAX {
            let next = self.outbox.take_envelope();
            if next.posts.is_empty() {
                break;
            }
            let envelope = self.sign(next.posts, &next.encoded, now);
            bytes += envelope.bytes().len();
            let delivery = self.delivery(envelope, true);
            sealed.push(Pending { delivery, via: None, is_live: true, slots: next.slots });
        }
        if !sealed.is_empty() {
            self.pace.note_sealed(now.mono);
            self.outbox.sealed = Some(self.append(sealed, true));
        }
    }

    /// Whether what is said waits a moment, because all links are behind.
    fn holds_back(&mut self, now: Now) -> bool {
        if !self.is_ahead() {
            self.outbox.held_back = None;
            return false;
        }
        let since = *self.outbox.held_back.get_or_insert(now.mono);
        if now.mono.since(since) >= BACKLOG_WAIT {
            // The next seal waits anew.
            self.outbox.held_back = None;
            return false;
        }
        self.timers.set_once(Timer::Seal, since + BACKLOG_WAIT);
        true
    }

    /// Whether much of our own feed is still to come for each link that it is pushed on.
    fn is_ahead(&self) -> bool {
        let feed = self.me.feed;
        let places = self.up_links().filter_map(|link| match link.feeds.get(&feed)?.push {
            Push::Live { cursor, .. } => Some(cursor),
            Push::Off => None,
        });
        let quickest = places.max();
        quickest.is_some_and(|cursor| self.feeds.tail.bytes_from(feed, cursor) > BACKLOG_BYTES_MAX)
    }

    fn sign(&mut self, posts: Vec<Post>, encoded: &[u8], now: Now) -> VerifiedEnvelope {
        let (id, feed) = (self.me.feed, self.me.instance);
        let at = self.clock.stamp(now.unix_ms, posts.len() as u64);
        let is_new = self.feeds.get(&id).is_none();
        let state = self.feeds.entry(id, Some(feed), now.mono);
        let tip = state.accepted.tip();
        let body = Body { feed, first: tip.head.next(), prev: tip.hash, at, posts };
        let envelope = body.sign_encoded(encoded, &self.me.key);
        state.accepted.add(&envelope);
        if is_new {
            self.push_own_feed();
        }
        envelope
    }

    /// What was sealed is flushed: tell who said it.
    pub(super) fn answer_sealed(&mut self, pending: &Pending) {
        let delivery = &pending.delivery;
        let body = delivery.envelope.body();
        for (index, slot) in (0u64..).zip(&pending.slots) {
            let seq = body.first.plus(index);
            let offset = crate::id::Offset(delivery.offset.0 + index);
            let at = body.at.plus(index);
            let sent = Sent { id: PostId { feed: body.feed, seq }, offset, at, repeated: false };
            self.answer(slot, Ok(sent));
            if let Some(key) = &slot.key {
                let content = self.outbox.keys.get(key).map(|in_flight| in_flight.content);
                let post = content.map(|content| KeyedPost { id: sent.id, offset, at, content });
                if let Some(post) = post {
                    self.finish_key(key, |content| repeated(key, &post, content));
                }
            }
        }
    }

    /// What was sealed is not stored: tell who said it.
    pub(super) fn refuse_sealed(&mut self, slots: &[Slot], why: &str) {
        for slot in slots {
            self.answer(slot, Err(Refusal::Store(why.to_owned())));
            if let Some(key) = &slot.key {
                self.finish_key(key, |_| Err(Refusal::Store(why.to_owned())));
            }
        }
    }

    /// The append that held sealed envelopes is answered, so the next may be sealed.
    pub(super) fn sealed_done(&mut self, ticket: Ticket) {
        self.outbox.sealed.take_if(|sealed| *sealed == ticket);
    }
}

impl Outbox {
    /// Keeps a post; gives its key if the store must be asked for it.
    fn enqueue(&mut self, slot: Slot, draft: Draft) -> Option<String> {
        let key = draft.key.clone();
        let mut state = State::Ready;
        if let Some(key) = &key {
            let content = draft.content_hash();
            if let Some(in_flight) = self.keys.get_mut(key) {
                in_flight.followers.push((slot, content));
                return None;
            }
            let place = self.taken + self.entries.len() as u64;
            self.keys.insert(key.clone(), KeyInFlight { content, place, followers: Vec::new() });
            state = State::Lookup;
        }
        self.bytes += draft.said_len();
        self.entries.push_back(Entry { slot, draft, was: None, state });
        key
    }

    fn entry_mut(&mut self, place: u64) -> Option<&mut Entry> {
        let index = place.checked_sub(self.taken)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    /// The posts of the next envelope, as many as fit; none where nothing is ready.
    fn take_envelope(&mut self) -> Next {
        let count = self.entries.len().min(POSTS_PER_ENVELOPE_MAX);
        let mut next = Next { posts: Vec::with_capacity(count), slots: Vec::with_capacity(count), encoded: Vec::new() };
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.state != State::Lookup) {
            if entry.state == State::Answered {
                self.take(&entry);
                continue;
            }
            let Entry { slot, draft, was, state } = entry;
            let said_len = draft.said_len();
            let post = post_of(draft, was);
            let len = next.encoded.len();
            post.encode_into(&mut next.encoded);
            if next.encoded.len() > BODY_LEN_MAX - BODY_OVERHEAD || next.posts.len() == POSTS_PER_ENVELOPE_MAX {
                next.encoded.truncate(len);
                self.entries.push_front(Entry { slot, draft: draft_of(post), was, state });
                break;
            }
            self.taken += 1;
            self.bytes -= said_len;
            next.posts.push(post);
            next.slots.push(slot);
        }
        next
    }

    fn take(&mut self, entry: &Entry) {
        self.taken += 1;
        self.bytes -= entry.draft.said_len();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn census(&self) -> Vec<Count> {
        // What was taken out and is being flushed is still to be answered.
        let unanswered_max = 2 * OUTBOX_POSTS_MAX;
        vec![
            Count::new("posts to be sealed", self.entries.len(), OUTBOX_POSTS_MAX),
            Count::new("bytes to be sealed", self.bytes, OUTBOX_BYTES_MAX),
            Count::new("sends without an answer", self.publishes.len(), unanswered_max),
            Count::new("keys in use", self.keys.len(), unanswered_max),
            Count::new("keys being looked up", self.lookups.len(), OUTBOX_POSTS_MAX),
        ]
    }
}

/// The answer to a key that was used before, for a message with this content.
fn repeated(key: &str, post: &KeyedPost, content: Hash) -> Result<Sent, Refusal> {
    if post.content != content {
        return Err(Refusal::KeyReused { key: key.to_owned(), used: post.id });
    }
    Ok(Sent { id: post.id, offset: post.offset, at: post.at, repeated: true })
}

/// Whether users may say this, in a room or to one peer.
///
/// # Errors
///
/// They may not.
pub fn check_text(text: &str) -> Result<(), Refusal> {
    let len = text.len();
    if text.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    if len > TEXT_LEN_MAX {
        return Err(Refusal::TooLong { len, limit: TEXT_LEN_MAX });
    }
    if text.contains('\0') { Err(Refusal::Nul) } else { Ok(()) }
}

fn check_draft(draft: &Draft) -> Result<(), Refusal> {
    // What is sealed was looked at before it was.
    if draft.direct.is_none() {
        check_text(&draft.text)?;
        if !draft.is_network && !is_room(&draft.room) {
            return Err(Refusal::Room(draft.room.chars().take(ROOM_LEN_MAX).collect()));
        }
    }
    if draft.key.as_ref().is_some_and(|key| key.contains('\0')) {
        return Err(Refusal::Nul);
    }
    if let Some(key) = draft.key.as_ref().filter(|key| key.len() > KEY_LEN_MAX) {
        return Err(Refusal::KeyTooLong { len: key.len(), limit: KEY_LEN_MAX });
    }
    if draft.re.is_some_and(|re| re.seq == Seq(0) || re.seq.0.max(re.feed.epoch.0) >= INTEGER_END) {
        return Err(Refusal::Reply);
    }
    // Control characters take six bytes each in JSON: such a text can be within its limit and yet fit no envelope.
    if draft.said_len() > BODY_LEN_MAX / 8 {
        let mut encoded = Vec::new();
        post_of(draft.clone(), None).encode_into(&mut encoded);
        // With room for what it needs to be said again one day.
        let limit = BODY_LEN_MAX - BODY_OVERHEAD - WAS_OVERHEAD;
        if encoded.len() > limit {
            return Err(Refusal::TooLong { len: encoded.len(), limit });
        }
    }
    Ok(())
}

fn post_of(draft: Draft, was: Option<PostId>) -> Post {
    let Draft { room, text, re, key, direct, is_network } = draft;
    let kind = match (&direct, is_network) {
        (Some(_), _) => DIRECT,
        (None, true) => NETWORK,
        (None, false) => CHAT,
    };
    Post {
        kind: kind.into(),
        room: room.into(),
        text: text.into(),
        re: re.map(Box::new),
        key: key.map(Into::into),
        was: was.map(Box::new),
        direct: direct.map(Box::new),
    }
}

fn draft_of(post: Post) -> Draft {
    let Post { room, text, re, key, direct, kind, was: _ } = post;
    Draft {
        room: room.to_string(),
        text: text.to_string(),
        re: re.map(|re| *re),
        key: key.map(|key| key.to_string()),
        direct: direct.map(|direct| *direct),
        is_network: kind == NETWORK,
    }
}

/// `[a-z0-9][a-z0-9._-]{0,63}`
#[must_use]
pub fn is_room(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = name.bytes().next().is_some_and(is_word);
    first && name.len() <= ROOM_LEN_MAX && name.bytes().all(|byte| is_word(byte) || b"._-".contains(&byte))
}

/// Everything in a body but its posts: keys, author, numbers, hash.
const BODY_OVERHEAD: usize = 300;
/// What a post that says another one again has more: `,"was":["",,]`, an author and two numbers.
const WAS_OVERHEAD: usize = 100;
/// Commands count their tokens up from 0, and never come this far.
const NOBODY: u64 = u64::MAX;
