//! What a run cost, and what happened in it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts of one run, or of a stretch of it.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    /// Envelopes of others that were stored.
    pub firsts: u64,
    /// Envelopes that arrived, first or not.
    pub copies: u64,
    /// Live envelopes by the links they crossed.
    pub hops: BTreeMap<u64, u64>,
    /// From the user's word to a delivery at another peer.
    pub latencies: Vec<Duration>,
    /// Frames that arrived, by type.
    pub frames: BTreeMap<String, u64>,
    /// What happened.
    pub milestones: BTreeMap<Milestone, u64>,
    /// Kinds of faults that happened, by name.
    pub faults: BTreeMap<String, u64>,
}

/// What must happen in every batch of schedules, or the batch proves little.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Milestone {
    /// A power cut took envelopes that were not flushed.
    UnflushedLost,
    /// A process died in the middle of an append.
    DiedInAppend,
    /// A post arrived that was held already.
    DuplicateArrived,
    /// A link lost the tie-break.
    TieBreakLost,
    /// A peer was more than 1,000 posts behind.
    FarBehind,
    /// A peer waited the longest that there is before a dial.
    BackoffAtCap,
    /// A disk refused an append.
    AppendRefused,
    /// A known key was answered with the old post.
    KeyRepeated,
    /// A hostile neighbour was found out.
    HostileFound,
    /// A silent peer was suspected.
    Suspected,
    /// A link broke in the middle of a frame.
    CutInFrame,
    /// An author used a number twice, and that was proven.
    ForkProven,
    /// A branch lost and was set aside.
    BranchSetAside,
    /// A run found that it ran twice, and went on under another epoch.
    EpochChanged,
    /// A restarted peer was sent what it held.
    DuplicateAfterRestart,
    /// More came beyond a gap than may wait there.
    ReorderOverflow,
    /// A link was ended because it took no byte for too long.
    WriteStalled,
    /// Everybody who announced a feed was asked for it in vain.
    WantLap,
    /// Comparing heads showed what was missing.
    HeadsRepaired,
    /// A disk took appends again after it had refused some.
    DiskResumed,
    /// Posts came from a peer whose clock is more than a minute off.
    ClockFarOff,
    /// A key of an earlier run was answered with the old post.
    KeyRepeatedAfterRestart,
    /// A peer had all the links that it may have.
    LinksFull,
    /// A peer came back at another address and was linked again.
    Moved,
    /// Older posts of a feed came behind newer ones.
    NewestFirst,
}

impl Milestone {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::UnflushedLost,
        Self::DiedInAppend,
        Self::DuplicateArrived,
        Self::TieBreakLost,
        Self::FarBehind,
        Self::BackoffAtCap,
        Self::AppendRefused,
        Self::KeyRepeated,
        Self::HostileFound,
        Self::Suspected,
        Self::CutInFrame,
        Self::ForkProven,
        Self::BranchSetAside,
        Self::EpochChanged,
        Self::DuplicateAfterRestart,
        Self::ReorderOverflow,
        Self::WriteStalled,
        Self::WantLap,
        Self::HeadsRepaired,
        Self::DiskResumed,
        Self::ClockFarOff,
        Self::KeyRepeatedAfterRestart,
        Self::LinksFull,
        Self::Moved,
        Self::NewestFirst,
    ];
}

impl Measure {
    /// Something happened.
    pub fn reach(&mut self, milestone: Milestone) {
        *self.milestones.entry(milestone).or_default() += 1;
    }

    /// A frame arrived at an honest peer.
    pub fn count_frame(&mut self, frame: &[u8]) {
        let kind = frame_type(frame);
        match self.frames.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.frames.insert(kind.to_owned(), 1)),
        }
        if kind == "envelopes" {
            let copies = envelopes_in(frame);
            self.copies += copies;
            if has(frame, br#""live":true"#) {
                // The frame says how far its sender is from the author.
                *self.hops.entry(hop(frame) + 1).or_default() += copies;
            }
        }
    }

    /// Frames that arrived and are no heartbeats.
    #[must_use]
    pub fn frames_beyond_heartbeats(&self) -> u64 {
        let beyond = self.frames.iter().filter(|(kind, _)| !matches!(kind.as_str(), "ping" | "pong"));
        beyond.map(|(_, count)| count).sum()
    }

    /// Frames that arrived and carry no posts.
    #[must_use]
    pub fn control_frames(&self) -> u64 {
        self.frames.iter().filter(|(kind, _)| kind.as_str() != "envelopes").map(|(_, count)| count).sum()
    }

    /// Copies beyond the first, by first copies.
    #[must_use]
    pub fn redundancy(&self) -> f64 {
        if self.firsts == 0 { 0.0 } else { self.copies.saturating_sub(self.firsts) as f64 / self.firsts as f64 }
    }

    /// The latency that this part of all deliveries kept.
    #[must_use]
    pub fn latency(&self, part: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (sorted.len() as f64 * part) as usize;
        sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// The longest way of a live envelope.
    #[must_use]
    pub fn hops_max(&self) -> u64 {
        self.hops.keys().next_back().copied().unwrap_or(0)
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        self.firsts += other.firsts;
        self.copies += other.copies;
        self.latencies.extend(&other.latencies);
        for (hops, count) in &other.hops {
            *self.hops.entry(*hops).or_default() += count;
        }
        for (milestone, count) in &other.milestones {
            *self.milestones.entry(*milestone).or_default() += count;
        }
        for (own, others) in [(&mut self.frames, &other.frames), (&mut self.faults, &other.faults)] {
            for (name, count) in others {
                *own.entry(name.clone()).or_default() += count;
            }
        }
    }
}

/// The type of a frame, read from its first bytes only.
#[must_use]
pub fn frame_type(frame: &[u8]) -> &str {
    let Some(rest) = frame.strip_prefix(br#"{"type":""#) else { return "?" };
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(0);
    std::str::from_utf8(&rest[..end]).unwrap_or("?")
}

/// Whether the beginning of a frame holds these bytes.
#[must_use]
pub fn has(frame: &[u8], what: &[u8]) -> bool {
    frame[..frame.len().min(HEAD_LEN)].windows(what.len()).any(|window| window == what)
}

/// Envelopes in some bytes of a link.
pub(super) fn envelopes_in(bytes: &[u8]) -> u64 {
    count(bytes, br#","sig":""#)
}

fn count(frame: &[u8], what: &[u8]) -> u64 {
    frame.windows(what.len()).filter(|window| *window == what).count() as u64
}

fn hop(frame: &[u8]) -> u64 {
    let mark = br#""hop":"#;
    let Some(at) = frame.windows(mark.len()).position(|window| window == mark) else { return 0 };
    let digits = frame[at + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// What stands before the posts of a frame.
const HEAD_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_hops_are_read_from_frames() {
        let mut measure = Measure::default();
        let frame = br#"{"type":"envelopes","hop":12,"live":true,"items":[{"body":{"t":"\",\"sig\":\""},"sig":"x"}]}"#;
        measure.count_frame(frame);
        measure.count_frame(br#"{"type":"ping"}"#);
        assert_eq!((measure.copies, measure.hops_max()), (1, 13));
        assert_eq!((measure.frames_beyond_heartbeats(), measure.control_frames()), (1, 1));
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let measure = Measure { latencies, ..Measure::default() };
        assert_eq!(measure.latency(0.5), Duration::from_millis(51));
        assert_eq!(measure.latency(0.99), Duration::from_millis(100));
        assert_eq!(Measure::default().latency(0.5), Duration::ZERO);
    }
}
