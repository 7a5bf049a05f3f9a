//! What the network does to what one peer sends another.

use std::collections::BTreeMap;

/// Peers of the mesh under test.
pub const PEERS: usize = 6;

/// Their names, in the topology of the README.
pub const NAMES: [&str; PEERS] = ["b", "1", "2", "3", "4", "5"];

/// Whom each dials.
pub const DIALS: [&[usize]; PEERS] = [&[], &[0], &[0, 1], &[0, 2], &[1, 2, 3], &[0, 3, 4]];

/// What becomes of bytes from one peer to another; worse is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Way {
    /// They arrive.
    #[default]
    Open,
    /// Nothing arrives and nobody is told.
    Hole,
    /// Whoever sends is reset.
    Refuse,
}

/// All ways from each peer to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ways([[Way; PEERS]; PEERS]);

impl Ways {
    /// The way from one to another.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> Way {
        self.0[from][to]
    }

    /// The same with one way made at least this bad.
    #[must_use]
    pub fn one_way(mut self, from: usize, to: usize, way: Way) -> Self {
        self.0[from][to] = self.0[from][to].max(way);
        self
    }

    /// The same with both ways between every two that are to be parted.
    #[must_use]
    pub fn parted(mut self, way: Way, is_parted: impl Fn(usize, usize) -> bool) -> Self {
        for (one, two) in pairs() {
            if is_parted(one, two) {
                self = self.one_way(one, two, way).one_way(two, one, way);
            }
        }
        self
    }

    /// One peer cut off from all others.
    #[must_use]
    pub fn alone(peer: usize, way: Way) -> Self {
        Self::default().parted(way, |one, two| one == peer || two == peer)
    }
}

/// Cuts of several faults at the same time: the end of one does not heal another.
#[derive(Clone, Debug, Default)]
pub struct Cuts(BTreeMap<usize, Ways>);

impl Cuts {
    /// Fault number `fault` makes these ways, in place of those it made before.
    pub fn set(&mut self, fault: usize, ways: Ways) {
        self.0.insert(fault, ways);
    }

    /// Every way as the worst of the faults has it.
    #[must_use]
    pub fn worst(&self) -> Ways {
        let mut worst = Ways::default();
        for ways in self.0.values() {
            for (from, to) in pairs().flat_map(|(one, two)| [(one, two), (two, one)]) {
                worst = worst.one_way(from, to, ways.between(from, to));
            }
        }
        worst
    }
}

/// Every two peers, once.
pub fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..PEERS).flat_map(|one| (one + 1..PEERS).map(move |two| (one, two)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_one_cut_does_not_heal_another() {
        let mut cuts = Cuts::default();
        cuts.set(1, Ways::alone(0, Way::Hole));
        cuts.set(2, Ways::default().one_way(0, 1, Way::Refuse));
        assert_eq!(cuts.worst().between(0, 1), Way::Refuse);
        assert_eq!(cuts.worst().between(1, 0), Way::Hole);
        cuts.set(2, Ways::default());
        assert_eq!(cuts.worst(), Ways::alone(0, Way::Hole));
        cuts.set(1, Ways::default());
        assert_eq!(cuts.worst(), Ways::default());
    }

    #[test]
    fn there_are_fifteen_pairs_of_six() {
        assert_eq!(pairs().count(), 15);
    }
}
