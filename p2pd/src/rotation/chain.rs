//! Which of the known rotations hold: one rule over the set of them, whatever the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use super::Rotation;
use crate::network::KeyName;

/// The rotations that lead from `base` to the key that holds, in their order; none where `base` holds.
///
/// The most rotations in a row win, because those who made the later ones knew the earlier ones. Of equally many it is the
/// rank of the last one that decides, and of two that bring the same key the rank of each.
pub(super) fn from(base: KeyName, rotations: &[Rotation]) -> Vec<&Rotation> {
    let mut levels: Vec<BTreeMap<KeyName, &Rotation>> = Vec::new();
    let mut seen = BTreeSet::from([base]);
    let mut ends = BTreeSet::from([base]);
    loop {
        let mut level: BTreeMap<KeyName, &Rotation> = BTreeMap::new();
        for rotation in rotations.iter().filter(|one| ends.contains(&one.old) && !seen.contains(&one.new)) {
            let best = level.entry(rotation.new).or_insert(rotation);
            if rotation.rank() > best.rank() {
                *best = rotation;
            }
        }
        if level.is_empty() {
            return back(&levels);
        }
        ends = level.keys().copied().collect();
        seen.extend(&ends);
        levels.push(level);
    }
}

/// The way to the best of the last level.
fn back<'a>(levels: &[BTreeMap<KeyName, &'a Rotation>]) -> Vec<&'a Rotation> {
    let mut chain: Vec<&Rotation> = Vec::new();
    for level in levels.iter().rev() {
        let next = match chain.last() {
            None => level.values().max_by_key(|one| one.rank()),
            Some(later) => level.get(&later.old),
        };
        chain.extend(next.copied());
    }
    chain.reverse();
    chain
}
