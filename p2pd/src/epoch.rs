//! Epochs: what tells one run of an identity from every other.

use p2p_mesh::id::Epoch;
use rand::TryRng;

use crate::clock;

/// A number that no earlier run of this identity had: the time, made unique, and above all of them.
#[must_use]
pub fn draw(newest: Option<Epoch>) -> Epoch {
    // A clock that lies must not use up the numbers: what was stored by such a one stays the highest for ever.
    let seconds = clock::unix().as_secs().min(EPOCH_SECONDS_MAX);
    let seconds = newest.map_or(seconds, |newest| seconds.max((newest.0 >> EPOCH_RANDOM_BITS) + 1));
    // Always random below: of two that start from one copy of a disk, each draws its own.
    Epoch(seconds << EPOCH_RANDOM_BITS | u64::from(random() >> (32 - EPOCH_RANDOM_BITS)))
}

/// From the system: what this process would draw by itself, a machine that is resumed twice draws twice.
fn random() -> u32 {
    rand::rngs::SysRng.try_next_u32().unwrap_or_else(|_| rand::random())
}

const EPOCH_RANDOM_BITS: u32 = 20;
/// The year 2200: epochs stay below 2^53 for ever after, one a second.
const EPOCH_SECONDS_MAX: u64 = 7_258_118_400;
