//! Filling a link: control first, then live feeds in turn, then repair. Nothing queues: what does not go now is a
//! cursor that lags.

use bytes::Bytes;

use super::feeds::run_of;
use super::link::{Reading, Serving};
use super::{LastFrame, Mesh};
use crate::effect::Effect;
use crate::envelope::{RawEnvelope, VerifiedEnvelope};
use crate::id::{FeedId, LinkId, Seq};
use crate::input::{ReadFrom, Ticket};
use crate::limits::{
    ENVELOPES_FRAME_BYTES, HAVES_PER_FRAME_MAX, HEADS_PER_FRAME_MAX, IN_FLIGHT_BYTES_MAX, PRUNES_PER_FRAME_MAX,
    RECORDS_PER_FRAME_MAX,
};
use crate::time::Now;
use crate::timers::Timer;
use crate::tree::Push;
use crate::wire::message::{Have, Head, Heads, Message, Ping, encode_envelopes};

/// The next thing to do for a link.
enum Step {
    Send(Bytes),
    Read(Reading, Seq),
    Idle,
}

impl Mesh {
    pub(super) fn on_written(&mut self, id: LinkId, bytes: usize, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_backlog = link.in_flight >= IN_FLIGHT_BYTES_MAX;
        link.in_flight = link.in_flight.saturating_sub(bytes);
        if is_backlog {
            link.liveness.handle_progress(now.mono);
        }
        self.dirty.insert(id);
    }

    /// Sends a frame at once: hello and goodbye only.
    pub(super) fn send_now(&mut self, id: LinkId, message: &Message) {
        self.send_bytes(id, message.encode());
    }

    fn send_bytes(&mut self, id: LinkId, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.in_flight += bytes.len();
        link.stats.bytes_sent += bytes.len() as u64;
        self.count("bytes_sent_total", bytes.len() as u64);
        self.effects.push_back(Effect::Send { link: id, bytes });
    }

    pub(super) fn pump(&mut self, id: LinkId, now: Now) {
        while self.links.get(&id).is_some_and(|link| link.is_up() && link.in_flight < IN_FLIGHT_BYTES_MAX) {
            match self.next_step(id, now) {
                Step::Idle => return,
                Step::Send(bytes) => self.send_bytes(id, bytes),
                Step::Read(reading, to) => {
                    let Some(link) = self.links.get_mut(&id) else { return };
                    link.reading = Some(reading);
                    let Reading { ticket, feed, from, .. } = reading;
                    let from = ReadFrom { feed, from, to, bytes_max: ENVELOPES_FRAME_BYTES };
                    self.reads.insert(ticket, id);
                    self.effects.push_back(Effect::Read { ticket, from });
                }
            }
        }
    }

    fn next_step(&mut self, id: LinkId, now: Now) -> Step {
        if let Some(frame) = self.next_control(id, now) {
            return Step::Send(frame);
        }
        let Some(link) = self.links.get_mut(&id) else { return Step::Idle };
        if let Some(reading) = link.reading {
            // Repair that waits for the disk does not hold up what is new.
            return if reading.is_live || link.ring.is_empty() { Step::Idle } else { self.next_live(id, now) };
        }
        let is_repairs_turn = link.live_streak >= LIVE_PER_REPAIR && !link.serving.is_empty();
        if !is_repairs_turn && !link.ring.is_empty() {
            return self.next_live(id, now);
        }
        self.next_repair(id, now)
    }

    fn next_live(&mut self, id: LinkId, now: Now) -> Step {
        loop {
            let Some(link) = self.links.get_mut(&id) else { return Step::Idle };
            let is_reading = link.reading.is_some();
            let Some(feed) = link.ring.pop_front() else {
                return if is_reading { Step::Idle } else { self.next_repair(id, now) };
            };
            let Some(Push::Live { cursor, repaired }) = link.feeds.get(&feed).map(|state| state.push) else { continue };
            let Some(state) = self.feeds.get(&feed) else { continue };
            // What the store dropped meanwhile cannot be pushed any more, nor what is missing here.
            let head = state.stored.head();
            let Some(cursor) = state.next_held(cursor) else { continue };
            link.live_streak += 1;
            if let Some(bytes) = self.live_frame(id, feed, cursor, repaired, now) {
                return Step::Send(bytes);
            }
            if is_reading {
                if let Some(link) = self.links.get_mut(&id) {
                    link.ring.push_front(feed);
                }
                return Step::Idle;
            }
            let ticket = self.ticket();
            return Step::Read(Reading { ticket, feed, from: cursor, is_live: true }, head);
        }
    }

    /// The frame from `cursor` on, from memory; links at the same place share it.
    fn live_frame(&mut self, id: LinkId, feed: FeedId, cursor: Seq, repaired: Seq, now: Now) -> Option<Bytes> {
        let state = self.feeds.get(&feed)?;
        let (head, hop) = (state.stored.head(), state.hop);
        let is_live = cursor > repaired;
        let shared = self
            .last_frame
            .take()
            .filter(|last| last.feed == feed && last.from == cursor && last.head == head && last.is_live == is_live);
        let last = match shared {
            Some(last) => last,
            None => {
                let to = if is_live { head } else { repaired.min(head) };
                let run = self.feeds.tail.run(feed, cursor, to);
                let (first, next) = (run.first()?.first, run.last()?.last.next());
                let bytes = encode_envelopes(&run, hop, is_live, false);
                LastFrame { feed, from: cursor, first, head, next, is_live, bytes }
            }
        };
        let bytes = last.bytes.clone();
        self.advance_live(id, feed, (last.first, last.next), now);
        self.last_frame = Some(last);
        Some(bytes)
    }

    fn advance_live(&mut self, id: LinkId, feed: FeedId, (first, next): (Seq, Seq), now: Now) {
        let head = self.feeds.get(&feed).map_or(Seq(0), |state| state.stored.head());
        let Some(link) = self.links.get_mut(&id) else { return };
        link.exchanged = now.mono;
        link.liveness.handle_sent(now.mono);
        let Some(state) = link.feeds.get_mut(&feed) else { return };
        state.note_sent(first, Seq(next.0.saturating_sub(1)));
        if let Push::Live { cursor, .. } = &mut state.push {
            let begun = std::mem::replace(cursor, next);
            link.skip_pushed(feed, first, begun);
            if next <= head {
                link.enqueue(feed);
            }
        }
        self.look_soon(id, now);
    }

    fn next_repair(&mut self, id: LinkId, now: Now) -> Step {
        let Some(link) = self.links.get_mut(&id) else { return Step::Idle };
        link.live_streak = 0;
        let Some(serving) = link.serving.front() else { return Step::Idle };
        let Serving { feed, next: from, to, .. } = *serving;
        let run = self.feeds.tail.run(feed, from, to);
        if run.is_empty() {
            let ticket = self.ticket();
            return Step::Read(Reading { ticket, feed, from, is_live: false }, to);
        }
        self.repair_frame(id, &run, now).map_or(Step::Idle, Step::Send)
    }

    /// The next frame for whoever is first in turn.
    fn repair_frame(&mut self, id: LinkId, run: &[RawEnvelope], now: Now) -> Option<Bytes> {
        let (first, last) = (run.first()?.first, run.last()?.last);
        let link = self.links.get_mut(&id)?;
        let mut serving = link.serving.pop_front()?;
        let more = serving.advance(first, last);
        let feed = serving.feed;
        if let Some(held) = link.feeds.get_mut(&feed) {
            held.note_sent(first, last);
        }
        if more {
            link.serving.push_back(serving);
        }
        link.exchanged = now.mono;
        link.liveness.handle_sent(now.mono);
        let hop = self.feeds.get(&feed).map_or(0, |state| state.hop);
        self.look_soon(id, now);
        Some(encode_envelopes(run, hop, false, more))
    }

    /// The store read what a link is waiting for.
    pub(super) fn on_read_done(&mut self, ticket: Ticket, envelopes: &[VerifiedEnvelope], now: Now) {
        if let Some(feed) = self.searches.remove(&ticket) {
            return self.on_search_read(feed, ticket, envelopes, now);
        }
        let Some(id) = self.reads.remove(&ticket) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(reading) = link.reading.take_if(|reading| reading.ticket == ticket) else { return };
        self.dirty.insert(id);
        if !link.is_up() {
            return;
        }
        // The store counts by its own lights; a frame has room for so much and no more.
        let read: Vec<RawEnvelope> = envelopes.iter().map(|envelope| envelope.raw()).collect();
        let run = run_of(read.iter(), reading.from);
        let frame = if reading.is_live {
            self.read_live(id, reading, &run, now)
        } else {
            self.read_repair(id, reading, &run, now)
        };
        if let Some(bytes) = frame {
            self.send_bytes(id, bytes);
        }
    }

    fn read_live(&mut self, id: LinkId, reading: Reading, run: &[RawEnvelope], now: Now) -> Option<Bytes> {
        let push = self.links.get(&id)?.feeds.get(&reading.feed)?.push;
        let Push::Live { cursor, .. } = push else { return None };
        if self.feeds.get(&reading.feed)?.next_held(cursor) != Some(reading.from) {
            // It moved meanwhile: begin again from where it is.
            self.links.get_mut(&id)?.enqueue(reading.feed);
            return None;
        }
        let hop = self.feeds.get(&reading.feed)?.hop;
        let sent = (run.first()?.first, run.last()?.last.next());
        self.advance_live(id, reading.feed, sent, now);
        // From disk means from the past: whoever gets it does not push it on.
        Some(encode_envelopes(run, hop, false, false))
    }

    fn read_repair(&mut self, id: LinkId, reading: Reading, run: &[RawEnvelope], now: Now) -> Option<Bytes> {
        let serving = &mut self.links.get_mut(&id)?.serving;
        let front = serving.front_mut()?;
        if front.feed != reading.feed || front.next != reading.from {
            return None;
        }
        if run.is_empty() {
            if !front.next_range() {
                serving.pop_front();
            }
            return None;
        }
        self.repair_frame(id, run, now)
    }

    fn next_control(&mut self, id: LinkId, now: Now) -> Option<Bytes> {
        let digest = self.feeds.digest();
        let link = self.links.get_mut(&id)?;
        let control = &mut link.control;
        if let Some(frame) = control.frames.pop_front() {
            return Some(frame);
        }
        if let Some(mut pong) = control.pong.take() {
            pong.digest = digest;
            return Some(Message::Pong(pong).encode());
        }
        if std::mem::take(&mut control.ping) {
            let n = link.liveness.ping(now.mono);
            self.count("heartbeats_sent_total", 1);
            self.timers.set(Timer::Liveness(id), now.mono);
            return Some(Message::Ping(Ping { n, t: now.unix_ms, digest }).encode());
        }
        if !control.records.is_empty() {
            return self.records_frame(id);
        }
        if std::mem::take(&mut control.view) {
            return Some(Message::View(self.view()).encode());
        }
        if !control.prune.is_empty() {
            let feeds = pop_up_to(&mut control.prune, PRUNES_PER_FRAME_MAX);
            return Some(Message::Prune(feeds).encode());
        }
        if let Some((feed, floor)) = control.gone.pop_first() {
            return Some(Message::Gone { feed, floor }.encode());
        }
        if let Some((feed, want)) = control.wants.pop_first() {
            link.exchanged = now.mono;
            link.liveness.handle_sent(now.mono);
            self.look_soon(id, now);
            self.note_want_sent(feed, id, now);
            return Some(Message::Want(want).encode());
        }
        if !control.forks.is_empty()
            && let Some(frame) = self.fork_frame(id, now)
        {
            return Some(frame);
        }
        let control = &mut self.links.get_mut(&id)?.control;
        if control.heads.is_some() {
            return self.heads_frame(id);
        }
        if control.have.is_empty() || self.timers.get(&Timer::Announce).is_some_and(|at| at > now.mono) {
            return None;
        }
        self.have_frame(id, now)
    }

    fn records_frame(&mut self, id: LinkId) -> Option<Bytes> {
        let link = self.links.get_mut(&id)?;
        let ids = pop_up_to(&mut link.control.records, RECORDS_PER_FRAME_MAX);
        let record = |id| if id == self.me.id { Some(&self.me.record) } else { Some(&self.book.get(&id)?.record) };
        let records = ids.into_iter().filter_map(record).cloned().collect();
        Some(Message::Peers(records).encode())
    }

    fn heads_frame(&mut self, id: LinkId) -> Option<Bytes> {
        let link = self.links.get_mut(&id)?;
        let mut left = link.control.heads.take()?;
        let mut heads = Vec::new();
        let mut rest = self.feeds.by_instance(left.from).filter(|(_, state)| state.is_stored());
        for (feed, state) in rest.by_ref().take(HEADS_PER_FRAME_MAX) {
            let hash = state.stored.tip().hash.map_or([0; 32], |hash| hash.0);
            let hash = *hash.first_chunk().unwrap_or(&[0; 8]);
            let floor = state.stored.floor();
            heads.push(Head { feed, floor, head: state.stored.head(), hash });
            if let Some(held) = link.feeds.get_mut(&feed.feed_id()) {
                held.floor_told = floor;
            }
        }
        let next = rest.next().map(|(feed, _)| feed);
        drop(rest);
        // Feeds that came meanwhile may make one part more or less: the last one says that it is the last.
        let of = if next.is_none() { left.part + 1 } else { left.of.max(left.part + 2) };
        let part = left.part;
        if let Some(from) = next {
            left.part += 1;
            left.from = from;
            self.links.get_mut(&id)?.control.heads = Some(left);
        }
        Some(Message::Heads(Heads { part, of, heads }).encode())
    }

    /// Announces what is stored, leaving out what the other side has.
    fn have_frame(&mut self, id: LinkId, now: Now) -> Option<Bytes> {
        let link = self.links.get_mut(&id)?;
        let mut haves = Vec::new();
        while let Some(feed) = link.control.have.pop_first() {
            let Some(state) = self.feeds.get(&feed).filter(|state| state.is_stored()) else { continue };
            let (head, floor) = (state.stored.head(), state.stored.floor());
            if let Some(held) = link.feeds.get_mut(&feed) {
                // Whoever brought it wants to know that it arrived; whoever has more does not need to hear of less.
                // Of a forked feed less may be news.
                let has_more = held.head > head && held.floor <= floor && held.floor_told == floor;
                if has_more && state.forks.is_empty() {
                    continue;
                }
                held.floor_told = floor;
            }
            haves.push(Have { feed, head, floor });
            if haves.len() == HAVES_PER_FRAME_MAX {
                break;
            }
        }
        if haves.is_empty() {
            return None;
        }
        link.exchanged = now.mono;
        Some(Message::Have(haves).encode())
    }

    /// Something that wants an answer went out: look after the link a little earlier.
    fn look_soon(&mut self, id: LinkId, now: Now) {
        self.timers.set_once(Timer::Liveness(id), now.mono);
        let soon = now.mono + LOOK_AFTER_SEND;
        if self.timers.get(&Timer::Liveness(id)).is_some_and(|at| at > soon) {
            self.timers.set(Timer::Liveness(id), soon);
        }
    }
}

fn pop_up_to<T: Ord>(set: &mut std::collections::BTreeSet<T>, max: usize) -> Vec<T> {
    std::iter::from_fn(|| set.pop_first()).take(max).collect()
}

/// Live frames before a repair frame gets its turn.
const LIVE_PER_REPAIR: u32 = 4;
/// The earliest that an unanswered frame is asked after.
const LOOK_AFTER_SEND: std::time::Duration = std::time::Duration::from_secs(1);
