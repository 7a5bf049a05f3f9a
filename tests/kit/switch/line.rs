//! What a bad line does to packets, from a seed: no device and no clock, so that it can be looked at from close by.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sim::dice::Dice;

/// How bad a line is. The default is a perfect one.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Trouble {
    /// The part of all packets that never arrives.
    pub loss: f64,
    /// How long each travels at least.
    pub delay: Duration,
    /// By up to how much longer, for each by chance: the later one may arrive first.
    pub jitter: Duration,
    /// The part that arrives twice, each copy in its own time.
    pub duplication: f64,
    /// The part that arrives with one wrong bit behind its IP header, so that its checksum is wrong.
    pub corruption: f64,
}

/// What the line did so far, in packets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Were sent.
    pub sent: u64,
    /// Never arrived.
    pub lost: u64,
    /// Were sent once and arrived twice.
    pub doubled: u64,
    /// Arrived with a wrong bit.
    pub corrupted: u64,
    /// Arrived behind one to the same peer that was sent later.
    pub overtaken: u64,
}

/// The packets that are on their way, in the order in which they arrive.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) trouble: Trouble,
    counts: Counts,
    dice: Dice,
    flying: BTreeMap<(Instant, u64), Packet>,
    /// Numbers what flies, copies too.
    next: u64,
    /// The highest number that arrived, by receiver.
    newest: BTreeMap<usize, u64>,
}

#[derive(Debug)]
pub(super) struct Packet {
    pub(super) to: usize,
    pub(super) bytes: Vec<u8>,
}

impl Line {
    pub(super) fn new(trouble: Trouble, seed: u64) -> Self {
        let (counts, flying, newest) = (Counts::default(), BTreeMap::new(), BTreeMap::new());
        Self { trouble, counts, dice: Dice::new(seed), flying, next: 0, newest }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// A packet is sent.
    pub(super) fn enter(&mut self, to: usize, mut bytes: Vec<u8>, now: Instant) {
        self.counts.sent += 1;
        if self.dice.chance(self.trouble.loss) {
            self.counts.lost += 1;
            return;
        }
        if bytes.len() > IP_HEADER_LEN && self.dice.chance(self.trouble.corruption) {
            let at = IP_HEADER_LEN + self.dice.below(bytes.len() - IP_HEADER_LEN);
            bytes[at] ^= 1 << self.dice.below(8);
            self.counts.corrupted += 1;
        }
        if self.dice.chance(self.trouble.duplication) {
            self.fly(Packet { to, bytes: bytes.clone() }, now);
            self.counts.doubled += 1;
        }
        self.fly(Packet { to, bytes }, now);
    }

    /// The next packet that has arrived by now.
    pub(super) fn leave(&mut self, now: Instant) -> Option<Packet> {
        let first = self.flying.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, number), packet) = first.remove_entry();
        let newest = self.newest.entry(packet.to).or_default();
        self.counts.overtaken += u64::from(number < *newest);
        *newest = number.max(*newest);
        Some(packet)
    }

    /// When the next one arrives.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    fn fly(&mut self, packet: Packet, now: Instant) {
        let at = now + self.trouble.delay + self.dice.span(Duration::ZERO, self.trouble.jitter);
        self.flying.insert((at, self.next), packet);
        self.next += 1;
    }
}

/// Without options, which TCP over IPv4 does not use.
const IP_HEADER_LEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a thousand packets, one a millisecond, and gives what arrives in the end.
    fn send(trouble: Trouble) -> (Vec<Packet>, Counts) {
        let (mut line, start) = (Line::new(trouble, 1), Instant::now());
        for number in 0..1_000_u32 {
            let bytes = [&[0; IP_HEADER_LEN][..], &number.to_be_bytes()].concat();
            line.enter(1, bytes, start + Duration::from_millis(number.into()));
        }
        let end = start + Duration::from_secs(10);
        let arrived = std::iter::from_fn(|| line.leave(end)).collect();
        assert_eq!(line.next_at(), None);
        (arrived, line.counts())
    }

    fn numbers(packets: &[Packet]) -> Vec<u32> {
        packets.iter().map(|packet| u32::from_be_bytes(packet.bytes[IP_HEADER_LEN..].try_into().unwrap())).collect()
    }

    #[test]
    fn a_perfect_line_changes_nothing() {
        let (arrived, counts) = send(Trouble::default());
        assert_eq!(numbers(&arrived), (0..1_000).collect::<Vec<_>>());
        assert_eq!(counts, Counts { sent: 1_000, ..Counts::default() });
    }

    #[test]
    fn what_is_lost_and_what_is_doubled_is_counted() {
        let (arrived, counts) = send(Trouble { loss: 0.3, duplication: 0.1, ..Trouble::default() });
        assert!((250..350).contains(&counts.lost) && (40..100).contains(&counts.doubled), "{counts:?}");
        assert_eq!(arrived.len() as u64, 1_000 - counts.lost + counts.doubled);
    }

    #[test]
    fn a_corrupted_packet_has_one_wrong_bit_behind_its_ip_header() {
        let (arrived, counts) = send(Trouble { corruption: 0.1, ..Trouble::default() });
        let wrong = numbers(&arrived).iter().zip(0..).filter(|(came, sent)| (*came ^ sent).count_ones() == 1).count();
        assert_eq!(wrong as u64, counts.corrupted);
        assert!((60..140).contains(&wrong), "{wrong}");
        assert!(arrived.iter().all(|packet| packet.bytes[..IP_HEADER_LEN] == [0; IP_HEADER_LEN]));
    }

    #[test]
    fn a_packet_comes_no_earlier_than_its_delay_and_jitter_lets_it_be_overtaken() {
        let (mut line, start) = (Line::new(Trouble { delay: DELAY, ..Trouble::default() }, 1), Instant::now());
        line.enter(1, vec![0; 40], start);
        assert!(line.leave(start + DELAY - Duration::from_micros(1)).is_none());
        assert_eq!(line.next_at(), Some(start + DELAY));
        assert!(line.leave(start + DELAY).is_some());

        let (arrived, counts) = send(Trouble { jitter: DELAY, ..Trouble::default() });
        let numbers = numbers(&arrived);
        assert!(counts.overtaken > 0 && !numbers.is_sorted());
        assert_eq!(numbers.len(), 1_000);
    }

    const DELAY: Duration = Duration::from_millis(25);
}
