//! How often the other side of a link is listened to, for what costs us work and is no post.
//!
//! What comes faster is ignored, and that loses nothing: an announcement is found again when digests are compared, a
//! question is asked again by whoever has no answer, and the rest is only ever about the present.

use std::time::Duration;

use super::Mesh;
use super::link::COMPARE_WAIT;
use super::penalty::Offence;
use crate::id::LinkId;
use crate::limits::{
    DIGEST_RATE, FORK_RATE, HAVE_RATE, HEADS_RATE, OFFENCE_INTERVAL, PRUNE_RATE, Rate, SHUFFLE_RATE, SUSPECT_RATE,
    VIEW_RATE, WANT_RATE,
};
use crate::time::{Mono, Now};
use crate::timers::Timer;
use crate::wire::message::{Message, Reserved};

/// What one link said lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    buckets: [Bucket; KINDS],
    /// When too much was last blamed on it.
    blamed: Option<Mono>,
}

/// What is counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Have,
    Want,
    Prune,
    View,
    Shuffle,
    Suspect,
    Heads,
    Digest,
    Fork,
}

/// What came of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// Until when all that came would take at the allowed rate.
    until: Mono,
}

impl Rates {
    /// Whether so much of a kind may come now.
    fn take(&mut self, kind: Kind, amount: u32, now: Mono) -> bool {
        self.buckets[kind as usize].take(amount, kind.rate(), now)
    }

    /// Whether too much shall be blamed: once in a while, because what comes in one lump is one mistake.
    fn blame(&mut self, now: Mono) -> bool {
        let is_due = self.blamed.is_none_or(|blamed| now.since(blamed) >= OFFENCE_INTERVAL);
        if is_due {
            self.blamed = Some(now);
        }
        is_due
    }
}

impl Bucket {
    /// Whether so much may come now.
    pub(super) fn take(&mut self, amount: u32, rate: Rate, now: Mono) -> bool {
        let span = |count: u32| Duration::from_secs(1) * count / rate.per_second;
        let until = self.until.max(now) + span(amount);
        let fits = until.since(now) <= span(rate.burst);
        if fits {
            self.until = until;
        }
        fits
    }
}

impl Kind {
    /// What a message counts as, and how much of it; none for what has no rate of its own.
    fn of(message: &Message) -> Option<(Self, u32)> {
        match message {
            Message::Have(_) => Some((Self::Have, 1)),
            Message::Want(_) => Some((Self::Want, 1)),
            Message::Prune(feeds) => Some((Self::Prune, u32::try_from(feeds.len()).unwrap_or(u32::MAX))),
            Message::View(_) => Some((Self::View, 1)),
            Message::Suspect(_) => Some((Self::Suspect, 1)),
            Message::Fork(_) => Some((Self::Fork, 1)),
            // The last part is the one that costs.
            Message::Heads(heads) => Some((Self::Heads, u32::from(heads.part + 1 >= heads.of))),
            Message::Reserved(Reserved::Shuffle | Reserved::ShuffleReply) => Some((Self::Shuffle, 1)),
            Message::Reserved(
                Reserved::Range | Reserved::Join | Reserved::ForwardJoin | Reserved::Neighbor | Reserved::NeighborReply,
            )
            | Message::Hello(_)
            | Message::Bye(_)
            // What they carry has a rate where it is compared: a ping is answered in any case.
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Peers(_)
            | Message::Envelopes(_)
            | Message::Gone { .. }
            | Message::Unknown => None,
        }
    }

    fn rate(self) -> Rate {
        match self {
            Self::Have => HAVE_RATE,
            Self::Want => WANT_RATE,
            Self::Prune => PRUNE_RATE,
            Self::View => VIEW_RATE,
            Self::Shuffle => SHUFFLE_RATE,
            Self::Suspect => SUSPECT_RATE,
            Self::Heads => HEADS_RATE,
            Self::Digest => DIGEST_RATE,
            Self::Fork => FORK_RATE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Have => "have",
            Self::Want => "want",
            Self::Prune => "prune",
            Self::View => "view",
            Self::Shuffle => "shuffle",
            Self::Suspect => "suspect",
            Self::Heads => "heads",
            Self::Digest => "digest",
            Self::Fork => "fork",
        }
    }
}

impl Mesh {
    /// Whether a message is listened to, or one too many of its kind.
    pub(super) fn is_within_rate(&mut self, id: LinkId, message: &Message, now: Now) -> bool {
        let Some((kind, amount)) = Kind::of(message) else { return true };
        let Some(link) = self.links.get_mut(&id) else { return false };
        if link.rates.take(kind, amount, now.mono) {
            return true;
        }
        self.on_over_rate(id, &format!("more {} frames than a link may send", kind.name()), now);
        false
    }

    /// Whether one more digest of a link is compared now. One that is not is no offence, and the next one tells the same.
    pub(super) fn may_compare(&mut self, id: LinkId, now: Now) -> bool {
        let is_allowed = self.links.get_mut(&id).is_some_and(|link| link.rates.take(Kind::Digest, 1, now.mono));
        if !is_allowed {
            self.count("digests_ignored_total", 1);
            self.timers.set_once(Timer::Compare(id), now.mono + COMPARE_WAIT);
        }
        is_allowed
    }

    /// Something that came too fast is ignored.
    fn on_over_rate(&mut self, id: LinkId, what: &str, now: Now) {
        let is_blamed = self.links.get_mut(&id).is_some_and(|link| link.rates.blame(now.mono));
        self.count("frames_over_rate_total", 1);
        // What was announced in vain shows when digests are compared, and that need not wait for a heartbeat.
        self.timers.set_once(Timer::Compare(id), now.mono + COMPARE_WAIT);
        if is_blamed {
            self.penalize(id, Offence::Limit, what.into(), now);
        }
    }
}

const KINDS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w_22_a_burst_is_taken_at_once_and_then_the_rate() {
        let rate = Rate { burst: 10, per_second: 2 };
        let (mut bucket, start) = (Bucket::default(), Mono(3));
        assert_eq!((0..20).filter(|_| bucket.take(1, rate, start)).count(), 10);
        let later = start + Duration::from_millis(2_500);
        assert_eq!((0..20).filter(|_| bucket.take(1, rate, later)).count(), 5);
        let much_later = start + Duration::from_secs(3_600);
        assert_eq!((0..20).filter(|_| bucket.take(1, rate, much_later)).count(), 10);
    }

    #[test]
    fn k_05_a_bucket_holds_at_both_ends_of_time() {
        let rate = Rate { burst: 3, per_second: 1 };
        for now in [Mono(0), Mono(1), Mono(u64::MAX - 1)] {
            let mut bucket = Bucket::default();
            assert!(bucket.take(1, rate, now));
            assert!(!bucket.take(u32::MAX, rate, now) || now > Mono(u64::MAX / 2));
        }
    }

    #[test]
    fn w_22_too_much_is_blamed_once_a_second() {
        let (mut rates, start) = (Rates::default(), Mono(5));
        let blamed = (0..3_000).filter(|ms| rates.blame(start + Duration::from_millis(*ms))).count();
        assert_eq!(blamed, 3);
    }

    #[test]
    fn each_kind_has_a_bucket_of_its_own() {
        let all = [
            Kind::Have,
            Kind::Want,
            Kind::Prune,
            Kind::View,
            Kind::Shuffle,
            Kind::Suspect,
            Kind::Heads,
            Kind::Digest,
            Kind::Fork,
        ];
        let mut rates = Rates::default();
        for (at, kind) in all.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert!(rates.take(kind, kind.rate().burst, Mono(0)), "{kind:?}");
            assert!(!rates.take(kind, 1, Mono(0)), "{kind:?}");
        }
        assert_eq!(all.len(), KINDS);
    }
}
