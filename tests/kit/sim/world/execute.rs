//! The driver's part: carrying out what a brain asks for.

use std::time::Duration;

use bytes::Bytes;
use p2p_mesh::effect::{Append, Delivery, Effect, Event as Told};
use p2p_mesh::id::{Instance, LinkId, PeerId, PostId, Seq};
use p2p_mesh::input::Input;
use p2p_mesh::limits::{CLOCK_AHEAD_MAX, DIALS_IN_FLIGHT_MAX, FRAME_LEN_MAX, IN_FLIGHT_BYTES_MAX};
use p2p_mesh::wire::frame::PREFIX_LEN;

use super::{Event, World};
use crate::checker::Violation;
use crate::sim::bug::Bug;
use crate::sim::disk::Job;
use crate::sim::machine::{Character, Machine, Run};
use crate::sim::measure::{Milestone, frame_type};
use crate::sim::network::{Place, ProcessId};

impl World {
    pub(super) fn execute(&mut self, place: Place, effect: Effect) {
        let Some(process) = self.machines[place.0].run.as_ref().map(|run| run.process) else { return };
        let machine = &self.machines[place.0];
        let line = || format!("{} -> {}", machine.name, describe(&effect));
        self.trace.note(self.now, &[b"effect", &process.0.to_le_bytes(), fingerprint(&effect)], line);
        match effect {
            Effect::Send { link, bytes } => self.on_send(place, link, bytes),
            Effect::RaiseFrameLimit(link) => self.network.raise_frame_limit(link),
            Effect::Dial { dial, addr, expected } => {
                if let Some(run) = self.machines[place.0].run.as_mut() {
                    run.dials.insert(dial);
                    let count = run.dials.len();
                    if count > DIALS_IN_FLIGHT_MAX && self.machines[place.0].is_honest() {
                        self.violate(place, format!("{count} dials at a time"));
                    }
                }
                let to = self.resolve(&addr);
                self.network.dial((place, process), dial, to, expected, self.now);
            }
            Effect::Hangup(link) => self.network.hang_up(link, self.now),
            Effect::Append(append) => self.on_append(place, append),
            Effect::Read { ticket, from } => self.push_job(place, Job::Read(ticket, from)),
            Effect::Settle(settle) => self.push_job(place, Job::Settle(settle)),
            Effect::FindLost { ticket, after } => self.push_job(place, Job::FindLost(ticket, after)),
            Effect::DrawEpoch => {
                let epoch = self.fresh_epoch(place);
                self.push_job(place, Job::RenewEpoch(epoch));
            }
            Effect::FindKeys { ticket, keys } => self.push_job(place, Job::FindKeys(ticket, keys)),
            Effect::SaveRecord { record, seen_ms } => self.push_job(place, Job::SaveRecord(Box::new(record), seen_ms)),
            Effect::ForgetRecord(id) => self.push_job(place, Job::ForgetRecord(id)),
            Effect::Deliver(delivery) => self.on_deliver(place, &delivery),
            Effect::Published { token, results } => {
                for sent in results.iter().flatten().filter(|sent| sent.repeated) {
                    self.measure.reach(Milestone::KeyRepeated);
                    let run = self.machines[place.0].run.as_ref();
                    if run.is_some_and(|run| run.instance != sent.id.feed) {
                        self.measure.reach(Milestone::KeyRepeatedAfterRestart);
                    }
                }
                if let Some(session) = self.people.answer(token, &results) {
                    self.speak_later(session);
                }
            }
            Effect::Ponged { .. } | Effect::Rest => (),
            Effect::Event(told) => self.on_told(place, told),
        }
    }

    /// Lets the store's thread begin, if it is idle and has something to do.
    pub(super) fn kick_store(&mut self, place: Place) {
        let machine = &mut self.machines[place.0];
        let Some(run) = machine.run.as_mut() else { return };
        let Some(flush) = run.store.begin() else { return };
        let (low, high) = if flush { self.plan.flush } else { WRITE };
        let span = self.dice.span(low, high) * machine.disk_slowness;
        self.agenda.push(self.now + span, Event::StoreDone(run.process));
    }

    fn push_job(&mut self, place: Place, job: Job) {
        if let Some(run) = self.machines[place.0].run.as_mut() {
            run.store.push(job);
        }
        self.kick_store(place);
    }

    fn on_append(&mut self, place: Place, append: Append) {
        let Some(run) = self.machines[place.0].run.as_mut() else { return };
        let bytes = append.envelopes.iter().map(|delivery| delivery.envelope.bytes().len()).sum();
        run.unstored.insert(append.ticket, bytes);
        let early = if append.flush { Bug::AckBeforeFlush } else { Bug::ForwardBeforeStore };
        if self.plan.bug == Some(early) {
            run.answered_early.insert(append.ticket);
            let answer = Event::Input(run.process, Box::new(Input::Appended(append.ticket)));
            self.agenda.push(self.now, answer);
        }
        self.push_job(place, Job::Append(append));
    }

    /// What the store answers, unless a bug answered already or forgets.
    pub(super) fn pass_answer(&mut self, place: Place, answer: Input) -> Option<Input> {
        let run = self.machines[place.0].run.as_mut()?;
        match answer {
            Input::Appended(ticket) => {
                run.unstored.remove(&ticket);
                if std::mem::take(&mut run.was_refused) {
                    self.measure.reach(Milestone::DiskResumed);
                }
                (!run.answered_early.remove(&ticket)).then_some(Input::Appended(ticket))
            }
            Input::AppendFailed { ticket, why } => {
                run.unstored.remove(&ticket);
                run.was_refused = true;
                self.measure.reach(Milestone::AppendRefused);
                if self.plan.bug == Some(Bug::FailureIgnored) {
                    return Some(Input::Appended(ticket));
                }
                (!run.answered_early.remove(&ticket)).then_some(Input::AppendFailed { ticket, why })
            }
            Input::KeysFound { ticket, posts } if self.plan.bug == Some(Bug::ForgottenKeys) => {
                Some(Input::KeysFound { ticket, posts: vec![None; posts.len()] })
            }
            other => Some(other),
        }
    }

    fn on_send(&mut self, place: Place, link: LinkId, bytes: Bytes) {
        let honest = self.machines[place.0].is_honest();
        let Some(run) = self.machines[place.0].run.as_mut() else { return };
        let process = run.process;
        let is_open = run.open.contains(&link);
        let in_flight = run.in_flight.entry(link).or_default();
        *in_flight += bytes.len();
        let too_much = *in_flight > IN_FLIGHT_BYTES_MAX + FRAME_LEN_MAX + PREFIX_LEN;
        let in_flight = *in_flight;
        if honest && too_much {
            self.violate(place, format!("{in_flight} bytes are in flight on link {link}"));
        }
        if honest && !is_open {
            self.violate(place, format!("it sends on link {link}, which is not open"));
        }
        if honest && bytes.len() > PREFIX_LEN + FRAME_LEN_MAX {
            self.violate(place, format!("it sends a frame of {} bytes", bytes.len()));
        }
        if self.is_swallowed(place, &bytes) {
            let written = Input::Written { link, bytes: bytes.len() };
            self.agenda.push(self.now, Event::Input(process, Box::new(written)));
            return;
        }
        self.network.send(link, bytes, self.now);
    }

    /// A censor, or a bug, keeps this frame.
    fn is_swallowed(&self, place: Place, bytes: &Bytes) -> bool {
        let frame = &bytes[PREFIX_LEN.min(bytes.len())..];
        let kind = frame_type(frame);
        if self.plan.bug == Some(Bug::NoRepair) && kind == "want" {
            return true;
        }
        let machine = &self.machines[place.0];
        machine.character == Character::Censor && kind == "envelopes" && !is_all_by(frame, machine.id)
    }

    fn on_deliver(&mut self, place: Place, delivery: &Delivery) {
        let machine = &mut self.machines[place.0];
        let envelope = &delivery.envelope;
        let is_stored = machine.disk.has_offset(delivery.offset);
        machine.show(delivery);
        let own = machine.run.as_ref().is_some_and(|run| run.instance == envelope.feed());
        let honest = machine.is_honest();
        if honest && !own && self.is_far_off(envelope.feed()) {
            self.measure.reach(Milestone::ClockFarOff);
        }
        if honest && !own && self.unmeasured != Some(place) {
            self.measure.firsts += 1;
            let said = envelope.body().posts.iter().filter_map(|post| self.people.said_at(&post.text));
            self.measure.latencies.extend(said.map(|at| self.now.since(at)));
        }
        let head =
            self.machines[place.0].run.as_mut().map(|run| run.heads_shown.entry(envelope.feed_id()).or_default());
        if let Some(head) = head.filter(|_| honest) {
            let is_older = envelope.last() < *head;
            *head = envelope.last().max(*head);
            if is_older {
                self.measure.reach(Milestone::NewestFirst);
            }
        }
        if honest && !is_stored && matches!(self.plan.bug, None | Some(Bug::ForwardBeforeStore)) {
            let id = PostId { feed: envelope.feed(), seq: envelope.first() };
            let peer = self.machines[place.0].name.clone();
            self.report(Violation::ToldTooSoon { peer, id });
        }
        if honest {
            self.look_at_own(place, delivery);
        }
    }

    /// The run is one whose clock is far from the true time.
    fn is_far_off(&self, feed: Instance) -> bool {
        let is_far = |machine: &Machine| machine.clock_offset_ms.unsigned_abs() > CLOCK_AHEAD_MAX.as_millis() as u64;
        let mut machines = self.machines.iter().filter(|machine| is_far(machine));
        machines.any(|machine| machine.run.as_ref().is_some_and(|run| run.instance == feed))
    }

    fn on_told(&mut self, place: Place, told: Told) {
        let honest = self.machines[place.0].is_honest();
        let Some(run) = self.machines[place.0].run.as_mut() else { return };
        match told {
            Told::LinkUp { link, peer, .. } => {
                run.up.insert(link, peer);
                if self.has_moved.remove(&place) {
                    self.measure.reach(Milestone::Moved);
                }
            }
            Told::LinkDown { link, .. } => drop(run.up.remove(&link)),
            Told::DialFailed { retry_ms, .. } if retry_ms >= BACKOFF_CAP_MS => {
                self.measure.reach(Milestone::BackoffAtCap);
            }
            Told::Suspected { .. } => self.measure.reach(Milestone::Suspected),
            Told::Misbehaved { peer, what, .. } if honest => self.on_misbehaved(place, peer, &what),
            Told::ForkSeen { feed, seq, .. } if honest => self.on_fork_seen(feed, seq),
            Told::EpochChanged { new, .. } => {
                run.instance = new;
                self.measure.reach(Milestone::EpochChanged);
            }
            Told::SetAside { .. } => self.measure.reach(Milestone::BranchSetAside),
            Told::DialFailed { .. }
            | Told::Misbehaved { .. }
            | Told::ForkSeen { .. }
            | Told::LinkRefused { .. }
            | Told::OtherInstance { .. }
            | Told::SelfDialed { .. }
            | Told::OwnPostsReturned { .. }
            | Told::StoreFailed { .. } => (),
        }
    }

    fn on_fork_seen(&mut self, feed: Instance, seq: Seq) {
        self.measure.reach(Milestone::ForkProven);
        if !self.may_fork(feed) && matches!(self.plan.bug, None | Some(Bug::ReusedNumber)) {
            self.violations.push(Violation::NumberReused { id: PostId { feed, seq } });
        }
    }

    fn on_misbehaved(&mut self, place: Place, peer: PeerId, what: &str) {
        if !self.is_honest_peer(peer) {
            self.measure.reach(Milestone::HostileFound);
        } else if self.plan.bug.is_none() {
            self.violate(place, format!("it blames {peer:?}, which is honest: {what}"));
        }
    }
}

impl Run {
    /// Keeps the adapter's own books of what the process is told.
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::LinkOpened(opened) => {
                self.open.insert(opened.link);
                if let Some(dial) = opened.dial {
                    self.dials.remove(&dial);
                }
            }
            Input::DialFailed { dial, .. } => drop(self.dials.remove(dial)),
            Input::Written { link, bytes } => {
                if let Some(in_flight) = self.in_flight.get_mut(link) {
                    *in_flight = in_flight.saturating_sub(*bytes);
                }
            }
            Input::LinkClosed { link, .. } => {
                self.open.remove(link);
                self.in_flight.remove(link);
                self.unread.remove(link);
            }
            Input::Frame { .. }
            | Input::Receiving(_)
            | Input::BadFrame { .. }
            | Input::Appended(_)
            | Input::AppendFailed { .. }
            | Input::ReadDone { .. }
            | Input::KeysFound { .. }
            | Input::Settled { .. }
            | Input::SettleFailed(_)
            | Input::EpochDrawn(_)
            | Input::LostFound { .. }
            | Input::Retained { .. }
            | Input::Command(_) => (),
        }
    }

    /// The process is this one.
    pub(super) fn is(&self, process: ProcessId) -> bool {
        self.process == process
    }
}

/// Whether every envelope of a frame is by this author, as far as its text tells.
fn is_all_by(frame: &[u8], author: PeerId) -> bool {
    let text = String::from_utf8_lossy(frame);
    let own = format!("\"author\":\"{author}\"");
    text.matches("\"body\":{").count() == text.matches(&own).count()
}

fn fingerprint(effect: &Effect) -> &[u8] {
    match effect {
        Effect::Send { bytes, .. } => bytes,
        Effect::RaiseFrameLimit(_) => b"raise",
        Effect::Dial { .. } => b"dial",
        Effect::Hangup(_) => b"hang up",
        Effect::Append(_) => b"append",
        Effect::Read { .. } => b"read",
        Effect::FindKeys { .. } => b"keys",
        Effect::Settle(_) => b"settle",
        Effect::DrawEpoch => b"draw",
        Effect::FindLost { .. } => b"lost",
        Effect::SaveRecord { .. } => b"save",
        Effect::ForgetRecord(_) => b"forget",
        Effect::Deliver(delivery) => delivery.envelope.bytes(),
        Effect::Published { .. } => b"published",
        Effect::Ponged { .. } => b"ponged",
        Effect::Rest => b"rest",
        Effect::Event(_) => b"event",
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Send { link, bytes } => {
            let frame =
                String::from_utf8_lossy(&bytes[PREFIX_LEN.min(bytes.len())..]).chars().take(300).collect::<String>();
            format!("link {link}: {frame}")
        }
        Effect::Append(append) => {
            let names: Vec<String> = append.envelopes.iter().map(name).collect();
            format!(
                "append {:?} generation {} flush {}: {}",
                append.ticket,
                append.generation,
                append.flush,
                names.join(" ")
            )
        }
        Effect::Deliver(delivery) => format!("deliver {}", name(delivery)),
        Effect::Settle(settle) => {
            format!("settle {:?} at {:?}, end {:?}", settle.proof.feed(), settle.proof.place(), settle.end)
        }
        Effect::SaveRecord { record, .. } => format!("save the record of {:?}", record.id),
        Effect::RaiseFrameLimit(_)
        | Effect::Dial { .. }
        | Effect::Hangup(_)
        | Effect::Read { .. }
        | Effect::FindKeys { .. }
        | Effect::DrawEpoch
        | Effect::FindLost { .. }
        | Effect::ForgetRecord(_)
        | Effect::Published { .. }
        | Effect::Ponged { .. }
        | Effect::Rest
        | Effect::Event(_) => format!("{effect:?}").chars().take(300).collect(),
    }
}

fn name(delivery: &Delivery) -> String {
    let Delivery { offset, envelope, .. } = delivery;
    format!("{:?}/{}..{}@{}", envelope.feed(), envelope.first().0, envelope.last().0, offset.0)
}

/// A batch without a flush.
const WRITE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_micros(200));
/// The longest wait between dials of the peers of a full mesh.
const BACKOFF_CAP_MS: u64 = 30_000;
