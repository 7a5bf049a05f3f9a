//! The virtual network: machines, ways between them, and TCP as its users know it.
//!
//! Bytes of one direction arrive in order or not at all. A way can be blocked silently, for one direction alone: what
//! was sent then arrives when the way is free again, unless the sender's kernel gave up before. The handshake of
//! links is not simulated: an open link has proven ids.

mod socket;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use p2p_mesh::id::{DialId, LinkId, PeerId};
use p2p_mesh::input::{CloseReason, DialFailure, Input, LinkOpened};
use p2p_mesh::limits::{CLOSE_TIMEOUT, FRAME_LEN_MAX};
use p2p_mesh::time::Mono;

use super::agenda::Agenda;
use super::dice::Dice;
pub use socket::NextFrame;
use socket::{Segment, Socket, State};
pub use ways::WRITE_STALLED;

/// A machine's place in the network, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place(pub usize);

/// One run of a program on a machine, counted over the whole world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProcessId(pub u64);

/// How fast the ways and how large the sockets are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NetworkPlan {
    /// The shortest time a segment takes.
    pub latency_min: Duration,
    /// The longest, unless one before it is later.
    pub latency_max: Duration,
    /// Bytes on the way and not yet read, one direction of one link.
    pub socket_bytes: usize,
    /// Bytes a second, one direction of one link; none for as fast as it goes.
    pub bandwidth: Option<u64>,
    /// After which a kernel gives up a link whose bytes are not confirmed.
    pub user_timeout: Duration,
}

/// What the network has to say to a process.
#[derive(Clone, Debug)]
pub enum Signal {
    /// Something for its mesh.
    Input(ProcessId, Input),
    /// There is something to read.
    Readable(ProcessId, LinkId),
}

/// All machines and the links between them.
#[derive(Debug)]
pub struct Network {
    plan: NetworkPlan,
    dice: Dice,
    agenda: Agenda<NetworkEvent>,
    ports: BTreeMap<Place, Port>,
    blocked: BTreeMap<(Place, Place), Mono>,
    off: BTreeMap<Place, Mono>,
    /// Machines that are not where they were at the beginning.
    moved: BTreeMap<Place, IpAddr>,
    moves: u8,
    /// Machines behind a slow line: bytes a second.
    slow: BTreeMap<Place, u64>,
    sockets: BTreeMap<LinkId, Socket>,
    signals: VecDeque<Signal>,
    cables: u64,
}

/// A listening process.
#[derive(Clone, Copy, Debug)]
struct Port {
    process: ProcessId,
    id: PeerId,
    stalled: bool,
}

#[derive(Clone, Debug)]
enum NetworkEvent {
    Knock(Knock),
    Accept(LinkId),
    /// The next segment that this end sent reaches the other end.
    Arrive(LinkId),
    Written(LinkId, usize),
    /// This end learns that the link is dead.
    Reset(LinkId),
    CloseDeadline(LinkId),
    /// The kernel of this end gives up if the way is blocked since before this moment.
    GiveUp(LinkId, Mono),
    /// The process of this end hangs up if nothing more was taken since so much was.
    WriteStall(LinkId, u64),
}

/// A dial on its way.
#[derive(Clone, Copy, Debug)]
struct Knock {
    from: Place,
    process: ProcessId,
    dial: DialId,
    to: Place,
    expected: Option<PeerId>,
    began: Mono,
}

impl Place {
    /// The address of the machine.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, (self.0 / 250) as u8, (self.0 % 250 + 1) as u8))
    }
}

impl Network {
    /// A network without machines.
    #[must_use]
    pub fn new(plan: NetworkPlan, seed: u64) -> Self {
        Self {
            plan,
            dice: Dice::new(seed),
            agenda: Agenda::default(),
            ports: BTreeMap::new(),
            blocked: BTreeMap::new(),
            off: BTreeMap::new(),
            moved: BTreeMap::new(),
            moves: 0,
            slow: BTreeMap::new(),
            sockets: BTreeMap::new(),
            signals: VecDeque::new(),
            cables: 0,
        }
    }

    /// This end learns at once that its link is dead.
    pub fn reset_end(&mut self, link: LinkId, now: Mono) {
        self.agenda.push(now, NetworkEvent::Reset(link));
    }

    /// Where this end is.
    #[must_use]
    pub fn place_of(&self, link: LinkId) -> Option<Place> {
        self.sockets.get(&link).map(|socket| socket.place)
    }

    /// Bytes that were written and not yet read, in any link.
    pub fn under_way(&self) -> impl Iterator<Item = &Bytes> {
        self.sockets.values().flat_map(Socket::under_way)
    }

    /// Dials. The answer comes as a signal.
    pub fn dial(
        &mut self,
        from: (Place, ProcessId),
        dial: DialId,
        to: Option<Place>,
        expected: Option<PeerId>,
        now: Mono,
    ) {
        let (from, process) = from;
        let Some(to) = to else {
            self.dial_failed(process, dial, DialFailure::Unreachable, "no address for the name");
            return;
        };
        // There and back for the connection, and as much again for the handshake.
        let at = now + self.latency() + self.latency() + self.latency() + self.latency();
        self.agenda.push(at, NetworkEvent::Knock(Knock { from, process, dial, to, expected, began: now }));
    }

    /// Writes to a link. What the socket took comes back as `Input::Written`.
    pub fn send(&mut self, link: LinkId, bytes: Bytes, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| socket.state == State::Open) else { return };
        socket.unsent_bytes += bytes.len();
        socket.unsent.push_back(bytes);
        self.pump(link, now);
        self.arm_write_stall(link, now);
    }

    /// Frames up to the full length are read from now on.
    pub fn raise_frame_limit(&mut self, link: LinkId) {
        if let Some(socket) = self.sockets.get_mut(&link) {
            socket.frame_limit = FRAME_LEN_MAX;
        }
    }

    /// Ends a link in order: what was sent is written, for at most a second.
    pub fn hang_up(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| socket.state == State::Open) else { return };
        socket.state = State::Closing;
        if socket.unsent.is_empty() {
            self.agenda.push(now, NetworkEvent::CloseDeadline(link));
        } else {
            self.agenda.push(now + CLOSE_TIMEOUT, NetworkEvent::CloseDeadline(link));
        }
    }

    /// The process takes up to `bytes_max` of what has arrived. That makes room for the other side.
    pub fn fetch(&mut self, link: LinkId, bytes_max: usize, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        let fetched = socket.fetch(bytes_max);
        if let Some(sender) = self.sockets.get_mut(&other(link)) {
            sender.taken = sender.taken.saturating_sub(fetched);
            self.pump(other(link), now);
        }
    }

    /// The next whole frame of what was fetched.
    pub fn next_frame(&mut self, link: LinkId) -> NextFrame {
        let Some(socket) = self.sockets.get_mut(&link) else { return NextFrame::Nothing };
        if !socket.opened || socket.state != State::Open {
            return NextFrame::Nothing;
        }
        let next = socket.next_frame();
        if let NextFrame::Closed(_) = next {
            self.abandon(link);
        }
        next
    }

    /// Whether more than was fetched has arrived.
    #[must_use]
    pub fn has_arrived(&self, link: LinkId) -> bool {
        self.sockets.get(&link).is_some_and(|socket| !socket.arrived.is_empty())
    }

    /// The ends of links at `place`, also of those that are being closed.
    #[must_use]
    pub fn links_of(&self, place: Place) -> Vec<LinkId> {
        let here = self.sockets.iter().filter(|(_, socket)| socket.place == place && socket.state != State::Closed);
        here.map(|(link, _)| *link).collect()
    }

    /// The ends at `from` of the links to `to`.
    #[must_use]
    pub fn links_between(&self, from: Place, to: Place) -> Vec<LinkId> {
        let between = |socket: &Socket| socket.place == from && socket.remote == to;
        self.sockets.iter().filter(|(_, socket)| between(socket)).map(|(link, _)| *link).collect()
    }

    /// Bytes that a process sent on a link and the socket did not take yet.
    #[must_use]
    pub fn unsent_bytes(&self, link: LinkId) -> usize {
        self.sockets.get(&link).map_or(0, |socket| socket.unsent_bytes)
    }

    /// When something happens next.
    #[must_use]
    pub fn next_at(&self) -> Option<Mono> {
        self.agenda.next_at()
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        let Some((now, event)) = self.agenda.pop() else { return };
        match event {
            NetworkEvent::Knock(knock) => self.on_knock(knock, now),
            NetworkEvent::Accept(link) => self.on_accept(link, now),
            NetworkEvent::Arrive(link) => self.on_arrive(link, now),
            NetworkEvent::Written(link, bytes) => self.on_written(link, bytes),
            NetworkEvent::Reset(link) => self.on_reset(link, "connection reset"),
            NetworkEvent::CloseDeadline(link) => self.on_close_deadline(link, now),
            NetworkEvent::GiveUp(link, since) => self.on_give_up(link, since, now),
            NetworkEvent::WriteStall(link, sent) => self.on_write_stall(link, sent, now),
        }
    }

    /// The next thing to be said to a process.
    pub fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    fn on_knock(&mut self, knock: Knock, now: Mono) {
        let Knock { from, process, dial, to, expected, began } = knock;
        if self.ports.get(&from).is_none_or(|port| port.process != process) {
            return;
        }
        let stalled = self.ports.get(&to).is_some_and(|port| port.stalled);
        if stalled || self.way_blocked_since(from, to).is_some() {
            if now.since(began) >= CONNECT_TIMEOUT {
                self.dial_failed(process, dial, DialFailure::Unreachable, "no answer in time");
            } else {
                // The kernel knocks again after a second, then after two, four, …
                let wait = now.since(began).max(Duration::from_secs(1)).min(CONNECT_TIMEOUT);
                self.agenda.push((now + wait).min(began + CONNECT_TIMEOUT), NetworkEvent::Knock(knock));
            }
            return;
        }
        match self.ports.get(&to).copied() {
            None => self.dial_failed(process, dial, DialFailure::Unreachable, "connection refused"),
            Some(port) if expected.is_some_and(|id| id != port.id) => {
                self.dial_failed(process, dial, DialFailure::WrongPeer, "another peer answers there");
            }
            Some(port) => self.connect(knock, port, now),
        }
    }

    fn connect(&mut self, knock: Knock, port: Port, now: Mono) {
        let link = LinkId(self.cables * 2);
        self.cables += 1;
        let mut dialer = Socket::new(knock.from, knock.process, knock.to);
        dialer.opened = true;
        self.sockets.insert(link, dialer);
        self.sockets.insert(other(link), Socket::new(knock.to, port.process, knock.from));
        let opened = LinkOpened {
            link,
            dial: Some(knock.dial),
            peer: port.id,
            remote: SocketAddr::new(self.ip(knock.to), LISTEN_PORT),
            local: self.ip(knock.from),
        };
        self.signals.push_back(Signal::Input(knock.process, Input::LinkOpened(opened)));
        // The side that was dialed knows who dialed only after the last message of the handshake.
        let at = now + self.latency();
        self.agenda.push(at, NetworkEvent::Accept(other(link)));
    }

    fn on_accept(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        let process = socket.process;
        let dialer = self.ports.get(&socket.remote).map(|port| port.id);
        let alive = self.ports.get(&socket.place).is_some_and(|port| port.process == process);
        let (Some(peer), true) = (dialer, alive) else {
            self.abandon(link);
            self.send_reset(link, now);
            return;
        };
        socket.opened = true;
        let (place, remote) = (socket.place, socket.remote);
        let port = 32_768 + (link.0 % 28_000) as u16;
        let remote = SocketAddr::new(self.ip(remote), port);
        let opened = LinkOpened { link, dial: None, peer, remote, local: self.ip(place) };
        self.signals.push_back(Signal::Input(process, Input::LinkOpened(opened)));
        self.signals.push_back(Signal::Readable(process, link));
    }

    fn on_arrive(&mut self, link: LinkId, now: Mono) {
        let Some(sender) = self.sockets.get_mut(&link) else { return };
        if since(&self.blocked, &self.off, sender.place, sender.remote).is_some() {
            sender.stuck += 1;
            return;
        }
        let Some(segment) = sender.flight.pop_front() else { return };
        let Some(receiver) = self.sockets.get_mut(&other(link)).filter(|socket| socket.state != State::Closed) else {
            self.send_reset(other(link), now);
            self.forget_closed(link);
            return;
        };
        match segment {
            Segment::Bytes(bytes) => receiver.arrived.push_back(bytes),
            Segment::Fin => receiver.eof = true,
            Segment::Cut => {
                self.agenda.push(now, NetworkEvent::Reset(link));
                // What arrived before the cut is still read.
                receiver.cut = true;
            }
        }
        let process = receiver.process;
        self.signals.push_back(Signal::Readable(process, other(link)));
        self.forget_closed(link);
    }

    fn on_written(&mut self, link: LinkId, bytes: usize) {
        let Some(socket) = self.sockets.get(&link).filter(|socket| socket.state == State::Open) else { return };
        self.signals.push_back(Signal::Input(socket.process, Input::Written { link, bytes }));
    }

    fn on_reset(&mut self, link: LinkId, why: &str) {
        let Some(socket) = self.sockets.get(&link).filter(|socket| socket.state != State::Closed) else { return };
        let reason = match socket.state {
            State::Open => CloseReason::Failed(why.to_owned()),
            State::Closing | State::Closed => CloseReason::HungUp,
        };
        self.tell_closed(link, reason);
    }

    fn on_close_deadline(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| socket.state == State::Closing) else { return };
        socket.unsent.clear();
        self.push_segment(link, Segment::Fin, now);
        self.tell_closed(link, CloseReason::HungUp);
    }

    fn on_give_up(&mut self, link: LinkId, armed: Mono, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| socket.state != State::Closed) else { return };
        socket.give_up_armed = false;
        let (place, remote) = (socket.place, socket.remote);
        if self.way_blocked_since(place, remote).is_some_and(|since| since <= armed) {
            self.on_reset(link, "connection timed out");
        } else if self.way_blocked_since(place, remote).is_some() {
            self.arm_give_up(link, now);
        }
    }

    /// Lets the socket take what it has room for.
    fn pump(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| socket.state != State::Closed) else { return };
        let mut taken = 0;
        let mut segments = Vec::new();
        let is_slow = self.slow.contains_key(&socket.place) || self.slow.contains_key(&socket.remote);
        let room = if is_slow { self.plan.socket_bytes.min(SLOW_SOCKET_BYTES) } else { self.plan.socket_bytes };
        while let Some(segment) = socket.take_segment(room) {
            if let Segment::Bytes(bytes) = &segment {
                taken += bytes.len();
            }
            segments.push(segment);
        }
        let drained = socket.state == State::Closing && socket.unsent.is_empty() && taken > 0;
        for segment in segments {
            self.push_segment(link, segment, now);
        }
        if taken > 0 {
            self.agenda.push(now, NetworkEvent::Written(link, taken));
        }
        if drained {
            self.agenda.push(now, NetworkEvent::CloseDeadline(link));
        }
    }

    fn push_segment(&mut self, link: LinkId, segment: Segment, now: Mono) {
        let latency = self.latency();
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        let lines = [self.plan.bandwidth.as_ref(), self.slow.get(&socket.place), self.slow.get(&socket.remote)];
        let busy = match (&segment, lines.into_iter().flatten().min()) {
            (Segment::Bytes(bytes), Some(rate)) => {
                Duration::from_micros(bytes.len() as u64 * 1_000_000 / (*rate).max(1))
            }
            (Segment::Bytes(_) | Segment::Fin | Segment::Cut, _) => Duration::ZERO,
        };
        socket.last_arrival = (now + latency).max(socket.last_arrival) + busy;
        socket.flight.push_back(segment);
        self.agenda.push(socket.last_arrival, NetworkEvent::Arrive(link));
        let (place, remote) = (socket.place, socket.remote);
        if self.way_blocked_since(place, remote).is_some() {
            self.arm_give_up(link, now);
        }
    }

    fn arm_give_up(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| !socket.give_up_armed) else { return };
        socket.give_up_armed = true;
        self.agenda.push(now + self.plan.user_timeout, NetworkEvent::GiveUp(link, now));
    }

    /// An idle link is probed by the kernel too.
    fn arm_keepalive(&mut self, link: LinkId, now: Mono) {
        self.agenda.push(now + KEEPALIVE, NetworkEvent::GiveUp(link, now));
    }

    /// Since when nothing passes, in one direction or the other: without confirmations bytes do not help.
    fn way_blocked_since(&self, one: Place, two: Place) -> Option<Mono> {
        let there = since(&self.blocked, &self.off, one, two);
        let back = since(&self.blocked, &self.off, two, one);
        there.into_iter().chain(back).min()
    }

    fn dial_failed(&mut self, process: ProcessId, dial: DialId, reason: DialFailure, detail: &str) {
        let input = Input::DialFailed { dial, reason, detail: detail.to_owned() };
        self.signals.push_back(Signal::Input(process, input));
    }

    /// The other end of `link` learns that this one is gone, if word can get there.
    fn send_reset(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get(&other(link)) else { return };
        if since(&self.blocked, &self.off, socket.remote, socket.place).is_none() {
            let at = now + self.latency();
            self.agenda.push(at, NetworkEvent::Reset(other(link)));
        }
    }

    fn tell_closed(&mut self, link: LinkId, reason: CloseReason) {
        let Some(socket) = self.sockets.get(&link) else { return };
        if socket.opened {
            self.signals.push_back(Signal::Input(socket.process, Input::LinkClosed { link, reason }));
        }
        self.abandon(link);
    }

    /// This end is closed, without a word to its process.
    fn abandon(&mut self, link: LinkId) {
        if let Some(socket) = self.sockets.get_mut(&link) {
            socket.close();
        }
        self.forget_closed(link);
    }

    fn forget_closed(&mut self, link: LinkId) {
        let over = |socket: Option<&Socket>| socket.is_none_or(|s| s.state == State::Closed && s.flight.is_empty());
        if over(self.sockets.get(&link)) && over(self.sockets.get(&other(link))) {
            self.sockets.remove(&link);
            self.sockets.remove(&other(link));
        }
    }

    fn latency(&mut self) -> Duration {
        self.dice.span(self.plan.latency_min, self.plan.latency_max)
    }
}

/// The other end of a link.
#[must_use]
pub fn other(link: LinkId) -> LinkId {
    LinkId(link.0 ^ 1)
}

fn since(
    blocked: &BTreeMap<(Place, Place), Mono>,
    off: &BTreeMap<Place, Mono>,
    from: Place,
    to: Place,
) -> Option<Mono> {
    [blocked.get(&(from, to)), off.get(&from), off.get(&to)].into_iter().flatten().min().copied()
}

/// Every machine of `places` that is not in `group`.
#[must_use]
pub fn outside(places: &[Place], group: &BTreeSet<Place>) -> Vec<Place> {
    places.iter().filter(|place| !group.contains(place)).copied().collect()
}

/// What a kernel keeps under way on a slow line.
const SLOW_SOCKET_BYTES: usize = 16_384;
/// Where every peer listens.
pub const LISTEN_PORT: u16 = 8_080;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// 10 s idle, then two probes 3 s apart, and the last one's time to answer.
const KEEPALIVE: Duration = Duration::from_secs(16);
/// A kernel doubles its wait after every try, so what waited may wait on for a while.
const RETRANSMIT_MAX: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests;
