//! Of all that is heard, what is worth a dial: peers of our network, at addresses of the network that we heard them on, and
//! only so many in a minute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use p2p_mesh::id::PeerId;
use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;
use p2p_mesh::membership::record::Addr;
use tokio::time::Instant;

use super::Sighting;
use super::announcement::{Announcement, Tag};
use super::interfaces::Interface;

/// So many in a span of time, and then no more until the next one begins.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    began: Instant,
    span: Duration,
    used: u32,
    max: u32,
}

/// What was let through in this minute.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    all: Allowance,
    by_sender: BTreeMap<IpAddr, Allowance>,
}

impl Allowance {
    /// Of messages that are read at all.
    pub(super) fn of_messages(now: Instant) -> Self {
        Self::new(MESSAGES_PER_SECOND, Duration::from_secs(1), now)
    }

    fn new(max: u32, span: Duration, now: Instant) -> Self {
        Self { began: now, span, used: 0, max }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now >= self.began + self.span {
            (self.began, self.used) = (now, 0);
        }
        let is_left = self.used < self.max;
        self.used += u32::from(is_left);
        is_left
    }

    /// When there is more; none while something is left.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let end = self.began + self.span;
        (self.used >= self.max && now < end).then_some(end)
    }
}

impl Screen {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Allowance::new(SIGHTINGS_PER_MINUTE, MINUTE, now), by_sender: BTreeMap::new() }
    }

    /// Whether one more of this sender is let through.
    pub(super) fn admits(&mut self, sender: IpAddr, now: Instant) -> bool {
        if now >= self.all.began + MINUTE {
            self.by_sender.clear();
        }
        let is_known = self.by_sender.contains_key(&sender) || self.by_sender.len() < SENDERS_MAX;
        let one = || Allowance::new(SIGHTINGS_PER_SENDER, MINUTE, now);
        is_known && self.by_sender.entry(sender).or_insert_with(one).take(now) && self.all.take(now)
    }
}

/// What an announcement is worth; none where it is of another network, our own, or names no place near here.
pub(super) fn sighting(
    announcement: &Announcement,
    me: PeerId,
    network: Tag,
    interface: &Interface,
) -> Option<Sighting> {
    let Announcement { peer, port, tags, addrs } = announcement;
    if *peer == me || *port == 0 || !tags.contains(&network) {
        return None;
    }
    let addrs = addrs.iter().filter(|ip| interface.has(**ip)).map(|ip| Addr::of(*ip, *port));
    let addrs: Vec<Addr> = addrs.filter(|addr| !addr.is_unroutable()).take(ADDRS_PER_RECORD_MAX).collect();
    (!addrs.is_empty()).then_some(Sighting { peer: *peer, addrs })
}

/// More than a large office says, and little work. What is beyond it waits in the kernel, or is lost.
const MESSAGES_PER_SECOND: u32 = 128;
const MINUTE: Duration = Duration::from_secs(60);
/// Fifty peers that all start, with what they say several times.
const SIGHTINGS_PER_MINUTE: u32 = 600;
/// A machine with some daemons that all start.
const SIGHTINGS_PER_SENDER: u32 = 60;
/// Senders that are told apart in a minute. Whoever comes behind them is not heard before the next one.
const SENDERS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lan::interfaces::Net;

    const ME: PeerId = PeerId([1; 32]);

    fn net(own: &str, prefix_len: u8) -> Net {
        Net { own: own.parse().unwrap(), prefix_len }
    }

    fn announcement() -> Announcement {
        let addrs = ["10.1.2.9", "fd00::9"].map(|ip| ip.parse().unwrap()).to_vec();
        Announcement { peer: PeerId([2; 32]), port: 8080, tags: vec![Tag::of(&[7; 16]), Tag::of(&[8; 16])], addrs }
    }

    #[track_caller]
    fn check(expected: &[&str], change: impl FnOnce(&mut Announcement)) {
        let nets = vec![net("10.1.2.3", 24), net("fd00::3", 64)];
        let eth = Interface { name: "eth0".into(), index: 2, nets };
        let mut announcement = announcement();
        change(&mut announcement);
        let sighting = sighting(&announcement, ME, Tag::of(&[8; 16]), &eth);
        let addrs = sighting.map(|sighting| sighting.addrs).unwrap_or_default();
        assert_eq!(addrs.iter().map(Addr::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_peer_of_our_network_is_seen_and_another_network_and_ourselves_are_not() {
        check(&["10.1.2.9:8080", "[fd00::9]:8080"], |_| ());
        check(&[], |announcement| announcement.tags = vec![Tag::of(&[7; 16])]);
        check(&[], |announcement| announcement.tags.clear());
        check(&[], |announcement| announcement.peer = ME);
        check(&[], |announcement| announcement.port = 0);
    }

    #[test]
    fn only_addresses_of_the_network_that_we_heard_it_on_are_dialed() {
        let say = |ips: &'static [&str]| {
            move |announcement: &mut Announcement| {
                announcement.addrs = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            }
        };
        check(&[], say(&["8.8.8.8", "127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255", "::1", "fe80::1"]));
        check(&["10.1.2.9:8080"], say(&["192.168.0.1", "10.1.2.9"]));
        let many = ["10.1.2.1", "10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.7"];
        let mut all = announcement();
        all.addrs = many.iter().map(|ip| ip.parse().unwrap()).collect();
        let eth = Interface { name: "eth0".into(), index: 2, nets: vec![net("10.1.2.3", 24)] };
        let seen = sighting(&all, ME, Tag::of(&[7; 16]), &eth).unwrap();
        assert_eq!(seen.addrs.len(), ADDRS_PER_RECORD_MAX);
    }

    #[test]
    fn one_sender_is_heard_sixty_times_a_minute_and_all_together_ten_times_that() {
        let start = Instant::now();
        let mut screen = Screen::new(start);
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        let admitted = |screen: &mut Screen, sender, now| (0..1_000).filter(|_| screen.admits(sender, now)).count();
        assert_eq!(admitted(&mut screen, ip(1), start), 60);
        let rest: usize = (2..50).map(|sender| admitted(&mut screen, ip(sender), start)).sum();
        assert_eq!(rest, 540);
        let later = start + MINUTE;
        assert_eq!(admitted(&mut screen, ip(1), later), 60, "a new minute");
    }

    #[test]
    fn invented_senders_make_nothing_grow() {
        let start = Instant::now();
        let mut screen = Screen::new(start);
        for n in 0..10_000_u32 {
            screen.admits(IpAddr::from(n.to_be_bytes()), start);
        }
        assert_eq!(screen.by_sender.len(), SENDERS_MAX);
    }

    #[test]
    fn what_is_read_in_a_second_is_bounded_and_more_is_read_in_the_next() {
        let start = Instant::now();
        let mut allowance = Allowance::of_messages(start);
        assert_eq!(allowance.next(start), None);
        assert_eq!((0..1_000).filter(|_| allowance.take(start)).count(), MESSAGES_PER_SECOND as usize);
        let end = start + Duration::from_secs(1);
        assert_eq!(allowance.next(start), Some(end));
        assert_eq!(allowance.next(end), None);
        assert!(allowance.take(end));
    }
}
