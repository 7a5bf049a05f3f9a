//! Anti-entropy: do two peers hold the same, and if not, what is missing?

use crate::feed::Tip;
use crate::id::Instance;
use crate::wire::message::Digest;

/// The sum over all feeds of a hash of each one's end, modulo 2^256: equal exactly when all feeds end the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum {
    limbs: [u64; 4],
    feeds: u64,
}

impl Sum {
    /// A feed's end moved from `old` to `new`.
    pub(crate) fn replace(&mut self, feed: Instance, old: &Tip, new: &Tip) {
        if old.hash.is_some() {
            self.add(&negated(feed_hash(feed, old)));
            self.feeds -= 1;
        }
        if new.hash.is_some() {
            self.add(&feed_hash(feed, new));
            self.feeds += 1;
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut fingerprint = [0; 16];
        fingerprint[..8].copy_from_slice(&self.limbs[0].to_be_bytes());
        fingerprint[8..].copy_from_slice(&self.limbs[1].to_be_bytes());
        Digest { fingerprint, feeds: self.feeds, holes: 0 }
    }

    fn add(&mut self, other: &[u64; 4]) {
        let mut carry = false;
        for (limb, add) in self.limbs.iter_mut().zip(other) {
            (*limb, carry) = carrying_add(*limb, *add, carry);
        }
    }
}

fn carrying_add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum, first | second)
}

/// Two's complement: adding it takes the number away.
fn negated(limbs: [u64; 4]) -> [u64; 4] {
    let mut carry = true;
    limbs.map(|limb| {
        let (value, next) = carrying_add(!limb, 0, carry);
        carry = next;
        value
    })
}

fn feed_hash(feed: Instance, tip: &Tip) -> [u64; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&feed.id.0);
    hasher.update(&feed.epoch.0.to_be_bytes());
    hasher.update(&tip.head.0.to_be_bytes());
    hasher.update(&tip.hash.map_or([0; 32], |hash| hash.0));
    let hash = hasher.finalize();
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
        *limb = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Stamp;
    use crate::id::{Epoch, Hash, PeerId, Seq};

    fn feed(n: u8) -> Instance {
        Instance { id: PeerId([n; 32]), epoch: Epoch(u64::from(n)) }
    }

    fn tip(head: u64) -> Tip {
        Tip { head: Seq(head), hash: Some(Hash([head as u8; 32])), at: Stamp::default() }
    }

    #[test]
    fn the_way_to_a_history_does_not_matter() {
        let (mut one, mut other) = (Sum::default(), Sum::default());
        one.replace(feed(1), &Tip::default(), &tip(1));
        one.replace(feed(2), &Tip::default(), &tip(5));
        one.replace(feed(1), &tip(1), &tip(3));
        other.replace(feed(1), &Tip::default(), &tip(3));
        assert_ne!(one.digest(), other.digest());
        other.replace(feed(2), &Tip::default(), &tip(5));
        assert_eq!(one, other);
        assert_eq!(one.digest().feeds, 2);
    }

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let mut sum = Sum::default();
        for n in 0..50 {
            sum.replace(feed(n), &Tip::default(), &tip(u64::from(n) + 1));
        }
        for n in 0..50 {
            sum.replace(feed(n), &tip(u64::from(n) + 1), &Tip::default());
        }
        assert_eq!(sum, Sum::default());
    }
}
