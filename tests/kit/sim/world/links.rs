//! Reading from links, and what bugs do to what is read.

use bytes::Bytes;
use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{AuthorKey, Envelope};
use p2p_mesh::feed::Fit;
use p2p_mesh::id::{FeedId, LinkId, Seq};
use p2p_mesh::input::{CloseReason, Input};
use p2p_mesh::wire::frame::PREFIX_LEN;
use p2p_mesh::wire::message::{Envelopes, Message};

use super::{Event, World};
use crate::sim::bug::Bug;
use crate::sim::measure::{Milestone, frame_type, has};
use crate::sim::network::{NextFrame, Place, ProcessId, WRITE_STALLED};

impl World {
    /// A link has something to read, or its process may read again.
    pub(super) fn on_readable(&mut self, process: ProcessId, link: LinkId) {
        let Some(place) = self.places.get(&process).copied() else { return };
        let Some(run) = self.machines[place.0].run.as_mut() else { return };
        if run.stalled || run.reads_paused || run.is_saturated() {
            run.unread.insert(link);
            return;
        }
        run.unread.remove(&link);
        match run.read_pace {
            None => self.network.fetch(link, usize::MAX, self.now),
            Some((bytes, rest)) => {
                self.network.fetch(link, bytes, self.now);
                if self.network.has_arrived(link) {
                    self.agenda.push(self.now + rest, Event::ReadMore(process, link));
                }
            }
        }
        self.read_frames(place, process, link);
    }

    /// Reads what waited while the process did not read.
    pub(super) fn read_waiting(&mut self, place: Place) {
        let Some(run) = self.machines[place.0].run.as_ref() else { return };
        let process = run.process;
        for link in run.unread.clone() {
            self.on_readable(process, link);
        }
    }

    fn read_frames(&mut self, place: Place, process: ProcessId, link: LinkId) {
        loop {
            let run = self.machines[place.0].run.as_ref();
            if run.is_none_or(|run| !run.is(process)) {
                return;
            }
            match self.network.next_frame(link) {
                NextFrame::Frame(frame) => self.on_frame(place, process, link, frame),
                NextFrame::Nothing => return,
                NextFrame::Closed(reason) => {
                    self.on_closed_by_reader(place, link, &reason);
                    if let CloseReason::BadFrame(error) = reason {
                        self.feed(process, Input::BadFrame { link, error });
                    }
                    return self.on_signal_input(process, Input::LinkClosed { link, reason });
                }
            }
        }
    }

    fn on_closed_by_reader(&mut self, place: Place, link: LinkId, reason: &CloseReason) {
        match reason {
            CloseReason::BadFrame(why) => {
                // The link's own rules are kept by the link room; the other side learns by a reset.
                let writer = self.network.place_of(crate::sim::network::other(link));
                let is_honest = writer.is_some_and(|writer| self.machines[writer.0].is_honest());
                if is_honest && self.machines[place.0].is_honest() {
                    self.violate(place, format!("it was sent no frame by an honest peer: {why}"));
                }
                self.network.reset_end(crate::sim::network::other(link), self.now);
            }
            CloseReason::Failed(_) => self.measure.reach(Milestone::CutInFrame),
            CloseReason::HungUp | CloseReason::Closed => (),
        }
    }

    fn on_frame(&mut self, place: Place, process: ProcessId, link: LinkId, frame: Bytes) {
        if self.machines[place.0].is_honest() {
            self.measure.count_frame(&frame);
            if frame_type(&frame) == "bye" && has(&frame, br#""code":"duplicate""#) {
                self.measure.reach(Milestone::TieBreakLost);
            }
            if let Some(bug) = self.plan.bug
                && frame_type(&frame) == "envelopes"
            {
                return self.on_frame_with_bug(place, process, link, frame, bug);
            }
            if frame_type(&frame) == "heads" {
                return self.on_heads(place, process, link, frame);
            }
        }
        self.feed(process, Input::Frame { link, frame });
    }

    fn on_heads(&mut self, place: Place, process: ProcessId, link: LinkId, frame: Bytes) {
        let missing = |world: &Self| {
            let run = world.machines[place.0].run.as_ref();
            run.and_then(|run| run.brain.mesh()).map_or(0, |mesh| mesh.status().missing_posts)
        };
        let before = missing(self);
        self.feed(process, Input::Frame { link, frame });
        if missing(self) > before {
            self.measure.reach(Milestone::HeadsRepaired);
        }
    }

    /// The bugs of the receiving side: what the core would refuse, or keep, is kept, or refused, in front of it.
    fn on_frame_with_bug(&mut self, place: Place, process: ProcessId, link: LinkId, frame: Bytes, bug: Bug) {
        let Ok(Message::Envelopes(envelopes)) = Message::decode(&frame) else {
            return self.feed(process, Input::Frame { link, frame });
        };
        match bug {
            Bug::NoVerify => {
                for envelope in envelopes.items.iter().filter(|envelope| !is_signed(envelope)) {
                    self.take_unverified(place, envelope);
                }
            }
            Bug::LossyDedup => {
                for envelope in &envelopes.items {
                    self.take_again(place, envelope);
                }
            }
            Bug::RememberBeforeVerify => {
                let Some(frame) = self.drop_remembered(place, envelopes) else { return };
                return self.feed(process, Input::Frame { link, frame });
            }
            Bug::EagerRepair => {
                let mut bytes = Message::Envelopes(Envelopes { live: true, ..envelopes }).encode();
                let frame = bytes.split_off(PREFIX_LEN);
                return self.feed(process, Input::Frame { link, frame });
            }
            Bug::ClockFollowed => self.follow_clock(place, &envelopes),
            Bug::AckBeforeFlush
            | Bug::NoRepair
            | Bug::ReusedNumber
            | Bug::ForgottenKeys
            | Bug::FailureIgnored
            | Bug::ForwardBeforeStore
            | Bug::LeakedLinks
            | Bug::DeadDial => (),
        }
        self.feed(process, Input::Frame { link, frame });
    }

    /// Something from the network for a mesh, unless a bug swallows it.
    pub(super) fn on_signal_input(&mut self, process: ProcessId, input: Input) {
        let place = self.places.get(&process).copied();
        let Some(run) = place.and_then(|place| self.machines[place.0].run.as_mut()) else { return };
        match &input {
            Input::DialFailed { .. } => run.dials_failed += 1,
            Input::LinkClosed { reason: CloseReason::Failed(why), .. } if why == WRITE_STALLED => {
                self.measure.reach(Milestone::WriteStalled);
            }
            _ => (),
        }
        let is_swallowed = match (self.plan.bug, &input) {
            (Some(Bug::DeadDial), Input::DialFailed { .. }) => run.dials_failed > DIALS_BEFORE_DEATH,
            (Some(Bug::LeakedLinks), Input::LinkClosed { reason, .. }) => *reason == CloseReason::HungUp,
            _ => false,
        };
        if is_swallowed {
            return run.note(&input);
        }
        self.feed(process, input);
    }

    /// The adapter's clock becomes what others stamped.
    fn follow_clock(&mut self, place: Place, envelopes: &Envelopes) {
        let newest = envelopes.items.iter().map(|envelope| envelope.body().last_at().ms).max().unwrap_or(0);
        if let Some(run) = self.machines[place.0].run.as_mut() {
            run.clock_told_ms = run.clock_told_ms.max(newest);
        }
    }

    fn take_unverified(&mut self, place: Place, envelope: &Envelope) {
        if self.machines[place.0].disk.fit(envelope) == Fit::Extends {
            self.store_and_show(place, envelope);
        }
    }

    /// A cache of the newest envelopes forgot that this one is held.
    fn take_again(&mut self, place: Place, envelope: &Envelope) {
        let disk = &self.machines[place.0].disk;
        let id = (envelope.feed_id(), envelope.first());
        let mut newest = disk.log().iter().rev().take(DEDUP_CACHE_LEN);
        let is_remembered = newest.any(|entry| (entry.envelope.feed_id(), entry.envelope.first()) == id);
        if is_signed(envelope) && disk.holds(id.0, id.1) && !is_remembered {
            self.store_and_show(place, envelope);
        }
    }

    fn store_and_show(&mut self, place: Place, envelope: &Envelope) {
        let machine = &mut self.machines[place.0];
        let envelope = envelope.clone().trust_stored();
        let delivery =
            Delivery { offset: machine.disk.next_offset(), envelope, own: false, late: false, forked: false };
        machine.disk.append(&delivery, false);
        machine.show(&delivery);
    }

    /// The numbers of a forged envelope count as held, so the true one is dropped.
    fn drop_remembered(&mut self, place: Place, envelopes: Envelopes) -> Option<Bytes> {
        let machine = &mut self.machines[place.0];
        let run = machine.run.as_mut()?;
        let mut items = Vec::new();
        for envelope in envelopes.items {
            let numbers: Vec<(FeedId, Seq)> = numbers(&envelope).collect();
            if !is_signed(&envelope) {
                let new = numbers.iter().filter(|(_, seq)| !machine.disk.holds_number(envelope.feed(), *seq));
                run.remembered.extend(new);
                items.push(envelope);
            } else if !numbers.iter().all(|number| run.remembered.contains(number)) {
                items.push(envelope);
            }
        }
        if items.is_empty() {
            return None;
        }
        let mut bytes = Message::Envelopes(Envelopes { items, ..envelopes }).encode();
        Some(bytes.split_off(PREFIX_LEN))
    }
}

fn is_signed(envelope: &Envelope) -> bool {
    AuthorKey::new(&envelope.feed().id).and_then(|key| envelope.clone().verify(&key)).is_ok()
}

fn numbers(envelope: &Envelope) -> impl Iterator<Item = (FeedId, Seq)> {
    let feed = envelope.feed_id();
    (envelope.first().0..=envelope.last().0).map(move |seq| (feed, Seq(seq)))
}

/// So often a dial may fail where the bug lets nobody dial after that.
const DIALS_BEFORE_DEATH: u32 = 3;
/// Envelopes that the lossy dedup remembers.
const DEDUP_CACHE_LEN: usize = 4;
