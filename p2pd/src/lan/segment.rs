//! One interface and one family of addresses: a socket, and when something is to be said there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use rand::RngExt;
use rustix::net::sockopt::set_ip_multicast_if_with_ifindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::interfaces::Interface;

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Family {
    Four,
    Six,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) interface: Interface,
    pub(super) family: Family,
    pub(super) socket: UdpSocket,
    pub(super) schedule: Schedule,
}

/// When something is said.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// How often it was said by itself.
    round: usize,
    due: Instant,
    /// Somebody asked.
    answer_due: Option<Instant>,
    told: Option<Instant>,
}

impl Family {
    pub(super) fn is_of(self, ip: IpAddr) -> bool {
        match self {
            Self::Four => ip.is_ipv4(),
            Self::Six => ip.is_ipv6(),
        }
    }
}

impl Segment {
    /// Joins the group of all who speak multicast DNS.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) fn open(interface: Interface, family: Family, now: Instant) -> io::Result<Self> {
        let socket = match family {
            Family::Four => open_four(interface.index)?,
            Family::Six => open_six(interface.index)?,
        };
        Ok(Self { interface, family, socket, schedule: Schedule::new(now) })
    }

    /// Whether a message comes from a program of multicast DNS on this network, as far as its sender can be believed.
    pub(super) fn is_near(&self, sender: SocketAddr) -> bool {
        let is_link_local = match sender.ip() {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        sender.port() == PORT && (is_link_local || self.interface.has(sender.ip()))
    }

    /// Says something to everybody. What is lost is said again sooner or later.
    pub(super) fn say(&self, message: &[u8]) {
        let group = match self.family {
            Family::Four => SocketAddr::new(GROUP_FOUR.into(), PORT),
            Family::Six => group_six(self.interface.index),
        };
        if let Err(error) = self.socket.try_send_to(message, group) {
            tracing::debug!(interface = ?self.interface.name, %error, "lan_message_not_sent");
        }
    }
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { round: 0, due: now + drawn(SOON_MS), answer_due: None, told: None }
    }

    pub(super) fn next(&self) -> Instant {
        self.answer_due.map_or(self.due, |due| due.min(self.due))
    }

    /// Somebody asked. All answers go to everybody, so one in a second is enough.
    pub(super) fn ask(&mut self, now: Instant) {
        let soonest = self.told.map_or(now, |told| (told + ANSWER_INTERVAL).max(now));
        self.answer_due.get_or_insert(soonest + drawn(SOON_MS));
    }

    /// Begins again: what there is to say has changed.
    pub(super) fn restart(&mut self, now: Instant) {
        *self = Self { told: self.told, ..Self::new(now) };
    }

    /// The round that is due, if one is; the next one is set.
    pub(super) fn take_round(&mut self, now: Instant) -> Option<usize> {
        if now < self.due {
            return None;
        }
        let wait = ROUND_WAITS.get(self.round).copied().unwrap_or(ROUND_WAIT_LAST);
        // Machines that were switched on together do not go on together.
        self.due = now + wait + drawn(0..u64::try_from(wait.as_millis() / 10).unwrap_or(1).max(1));
        self.round += 1;
        Some(self.round - 1)
    }

    /// Whether an answer is due; then none is any more.
    pub(super) fn take_answer(&mut self, now: Instant) -> bool {
        let is_due = self.answer_due.is_some_and(|due| due <= now);
        if is_due {
            self.answer_due = None;
        }
        is_due
    }

    /// Everybody has been told.
    pub(super) fn note_told(&mut self, now: Instant) {
        self.told = Some(now);
        self.answer_due = None;
    }
}

/// Bound to the group, so that nothing comes that was sent to this machine alone, from wherever.
fn open_four(index: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    share(&socket)?;
    // Else it hears what any program of this machine joined, on all interfaces.
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4_n(&GROUP_FOUR, &InterfaceIndexOrAddress::Index(index))?;
    set_ip_multicast_if_with_ifindex(&socket, &Ipv4Addr::UNSPECIFIED, &Ipv4Addr::UNSPECIFIED, index)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    socket.bind(&SocketAddr::new(GROUP_FOUR.into(), PORT).into())?;
    UdpSocket::from_std(socket.into())
}

fn open_six(index: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    share(&socket)?;
    socket.set_multicast_all_v6(false)?;
    socket.join_multicast_v6(&GROUP_SIX, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(HOPS)?;
    socket.bind(&group_six(index).into())?;
    UdpSocket::from_std(socket.into())
}

/// Other programs of this machine speak multicast DNS too.
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(WAITING_BYTES_MAX)?;
    socket.set_nonblocking(true)
}

fn group_six(index: u32) -> SocketAddr {
    SocketAddrV6::new(GROUP_SIX, PORT, 0, index).into()
}

fn drawn(range_ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::rng().random_range(range_ms))
}

const GROUP_FOUR: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_SIX: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// RFC 6762, section 11.
const HOPS: u32 = 255;
/// RFC 6762, section 6: all who know an answer do not give it in the same moment.
const SOON_MS: std::ops::Range<u64> = 20..120;
const ANSWER_INTERVAL: Duration = Duration::from_secs(1);
/// Often while the network may just be coming up, then as a safeguard: a message may be lost, and a network may be joined
/// with another behind a switch without anybody being told.
const ROUND_WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(12), Duration::from_secs(48)];
const ROUND_WAIT_LAST: Duration = Duration::from_secs(300);
/// What the kernel holds for us beyond what we listen to.
const WAITING_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schedule: &mut Schedule, ms: u64, start: Instant) -> (Option<usize>, bool) {
        let now = start + Duration::from_millis(ms);
        (schedule.take_round(now), schedule.take_answer(now))
    }

    #[test]
    fn it_speaks_often_at_first_and_then_every_five_minutes() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let mut rounds = Vec::new();
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            if schedule.take_round(now).is_some() {
                rounds.push(second);
            }
        }
        assert!(rounds[..5].iter().all(|second| *second < 80), "{rounds:?}");
        assert!((14..=18).contains(&rounds.len()), "{rounds:?}");
    }

    #[test]
    fn whoever_asks_is_answered_soon_and_a_hundred_who_ask_at_once_together() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        assert_eq!(at(&mut schedule, 0, start), (None, false));
        assert_eq!(at(&mut schedule, 120, start), (Some(0), false));
        (0..100).for_each(|_| schedule.ask(start + Duration::from_millis(200)));
        assert!(schedule.next() >= start + Duration::from_millis(220));
        assert_eq!(at(&mut schedule, 321, start), (None, true));
        schedule.note_told(start + Duration::from_millis(321));
        schedule.ask(start + Duration::from_millis(400));
        assert!(!at(&mut schedule, 1_300, start).1, "one answer in a second");
        assert!(at(&mut schedule, 1_500, start).1);
    }

    #[test]
    fn what_has_changed_is_said_at_once() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for ms in [120, 2_000, 6_000, 20_000, 80_000] {
            assert!(at(&mut schedule, ms, start).0.is_some());
        }
        let later = start + Duration::from_secs(100);
        assert!(schedule.next() > later);
        schedule.restart(later);
        assert_eq!(at(&mut schedule, 100_120, start).0, Some(0));
    }
}
