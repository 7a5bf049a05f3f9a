//! What is done to the network from outside: machines come and go, ways are blocked, lines are slow, links are cut.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use p2p_mesh::id::{LinkId, PeerId};
use p2p_mesh::input::CloseReason;
use p2p_mesh::limits::WRITE_STALL_TIMEOUT;
use p2p_mesh::time::Mono;

use super::socket::State;
use super::{Network, NetworkEvent, Place, Port, ProcessId, RETRANSMIT_MAX, other};

impl Network {
    /// A process listens at `place`; the machine is on.
    pub fn attach(&mut self, place: Place, process: ProcessId, id: PeerId) {
        self.off.remove(&place);
        self.ports.insert(place, Port { process, id, stalled: false });
    }

    /// The process at `place` is gone; its kernel resets every link.
    pub fn detach(&mut self, place: Place, now: Mono) {
        self.ports.remove(&place);
        for link in self.links_of(place) {
            self.abandon(link);
            self.send_reset(link, now);
        }
    }

    /// The machine is gone, and nobody is told.
    pub fn power_off(&mut self, place: Place, now: Mono) {
        self.ports.remove(&place);
        self.off.insert(place, now);
        for link in self.links_of(place) {
            self.abandon(link);
            self.arm_keepalive(other(link), now);
        }
    }

    /// The process at `place` finishes no handshake while it is stalled.
    pub fn set_stalled(&mut self, place: Place, stalled: bool) {
        if let Some(port) = self.ports.get_mut(&place) {
            port.stalled = stalled;
        }
    }

    /// Blocks the way from one machine to another, silently.
    pub fn block(&mut self, from: Place, to: Place, now: Mono) {
        self.blocked.entry((from, to)).or_insert(now);
        for link in self.links_between(from, to) {
            self.arm_keepalive(link, now);
            self.arm_keepalive(other(link), now);
        }
    }

    /// Frees the way again. What waited is sent again by the kernel, a while later.
    pub fn unblock(&mut self, from: Place, to: Place, now: Mono) {
        if self.blocked.remove(&(from, to)).is_none() {
            return;
        }
        for link in self.links_between(from, to) {
            let Some(socket) = self.sockets.get_mut(&link) else { continue };
            let again = now + self.dice.span(Duration::from_millis(20), RETRANSMIT_MAX);
            for _ in 0..std::mem::take(&mut socket.stuck) {
                self.agenda.push(again, NetworkEvent::Arrive(link));
            }
        }
    }

    /// Resets every link between two machines, as a router does that forgot them.
    pub fn reset_between(&mut self, one: Place, two: Place, now: Mono) {
        for link in self.links_between(one, two) {
            self.agenda.push(now, NetworkEvent::Reset(link));
            self.agenda.push(now, NetworkEvent::Reset(other(link)));
        }
    }

    /// Cuts the link when this end has sent `bytes` more, in the middle of whatever that is.
    pub fn cut_after(&mut self, link: LinkId, bytes: u64) {
        if let Some(socket) = self.sockets.get_mut(&link) {
            socket.cut_at = Some(socket.sent + bytes);
        }
    }

    /// No link is going to be cut any more.
    pub fn forget_cuts(&mut self) {
        for socket in self.sockets.values_mut() {
            socket.cut_at = None;
        }
    }

    /// Where a machine is now.
    #[must_use]
    pub fn ip(&self, place: Place) -> IpAddr {
        self.moved.get(&place).copied().unwrap_or_else(|| place.ip())
    }

    /// The machine that has this address now; `machines` is how many there are.
    #[must_use]
    pub fn place_at(&self, ip: IpAddr, machines: usize) -> Option<Place> {
        (0..machines).map(Place).find(|place| self.ip(*place) == ip)
    }

    /// A machine that is off gets an address that nobody had.
    pub fn move_away(&mut self, place: Place) {
        self.moves = self.moves.wrapping_add(1);
        self.moved.insert(place, IpAddr::V4(Ipv4Addr::new(10, 1, self.moves, (place.0 % 250 + 1) as u8)));
    }

    /// Two machines that are off change places.
    pub fn swap(&mut self, one: Place, two: Place) {
        let (first, second) = (self.ip(one), self.ip(two));
        self.moved.insert(one, second);
        self.moved.insert(two, first);
    }

    /// The line of a machine takes so many bytes a second from now on, in each direction of each link; none for as
    /// many as the network does.
    pub fn set_line(&mut self, place: Place, rate: Option<u64>) {
        match rate {
            Some(rate) => drop(self.slow.insert(place, rate)),
            None => drop(self.slow.remove(&place)),
        }
    }

    /// As the link room does: a link that takes no byte for too long is ended.
    pub(super) fn arm_write_stall(&mut self, link: LinkId, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        if !socket.stall_armed && !socket.unsent.is_empty() {
            socket.stall_armed = true;
            self.agenda.push(now + WRITE_STALL_TIMEOUT, NetworkEvent::WriteStall(link, socket.sent));
        }
    }

    pub(super) fn on_write_stall(&mut self, link: LinkId, sent: u64, now: Mono) {
        let Some(socket) = self.sockets.get_mut(&link).filter(|socket| socket.state == State::Open) else { return };
        socket.stall_armed = false;
        if socket.sent != sent || socket.unsent.is_empty() {
            return self.arm_write_stall(link, now);
        }
        self.tell_closed(link, CloseReason::Failed(WRITE_STALLED.to_owned()));
        self.send_reset(link, now);
    }
}

/// Why a link ends that takes nothing.
pub const WRITE_STALLED: &str = "slow: no byte was taken";
