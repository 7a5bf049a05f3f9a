//! Another secret for the network: who changed it, for whom, and who is shut out.
//!
//! A rotation is a post of its author's feed, or several, of the kind `network`. It names the key that it replaces and
//! the new one by hashes, says who is shut out, and holds the new secret once for each member, sealed to it. It spreads
//! and is stored as every post is; whoever finds its own part in one opens it. Which of several rotations holds depends
//! on the set of them alone (`chain`), so all who know the same ones choose the same key.
//!
//! Who was away when the old key stopped being accepted gets the new one at a *hatch* (`hatches`): a handshake that only
//! this pair of members can make, and that leads to the key and to nothing else.

mod chain;
mod ear;
mod hatches;
mod kept;
mod post;
mod rotations;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use p2p_mesh::id::{PeerId, PostId};

use crate::network::KeyName;

pub use ear::Ear;
pub use hatches::{Given, Hatch, HatchId, Hatches};
pub use kept::{KEPT_FILE, KeptError};
pub use post::OUT_MAX;
pub use rotations::{GRACE_MAX_MS, Heard, HeldKey, Plan, PlanError, Rotations, Said, Standing};

/// One change of the network's secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Who made it.
    pub author: PeerId,
    /// When, by its author's clock, milliseconds since 1970.
    pub at_ms: u64,
    /// The key that it replaces.
    pub old: KeyName,
    /// The key that it brings.
    pub new: KeyName,
    /// From then on older keys are not accepted, milliseconds since 1970; 0 for at once.
    pub until_ms: u64,
    /// Who is shut out by it.
    pub shuts: BTreeSet<PeerId>,
    /// Everybody who is shut out from then on.
    pub out: BTreeSet<PeerId>,
    /// For whom it holds the new key.
    pub members: BTreeSet<PeerId>,
    /// The posts that it consists of, as far as they came.
    pub posts: Vec<PostId>,
    /// The new key, sealed to us.
    part: Option<String>,
    /// When we first heard of it, milliseconds since 1970.
    heard_ms: u64,
}

impl Rotation {
    /// Of two that replace the same key the greater one holds: who shuts somebody out goes first, then the smaller hash.
    fn rank(&self) -> (bool, Reverse<[u8; 32]>) {
        (!self.shuts.is_empty(), Reverse(self.hash()))
    }

    /// Of everything that all of its posts repeat.
    fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("p2pd rotation v1");
        hasher.update(&self.author.0).update(&self.old.0).update(&self.new.0);
        for ids in [&self.shuts, &self.out] {
            hasher.update(&(ids.len() as u64).to_be_bytes());
            for id in ids {
                hasher.update(&id.0);
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Whether a post is a part of this one.
    fn is_same(&self, other: &Self) -> bool {
        let head = |one: &Self| (one.author, one.old, one.new);
        head(self) == head(other) && self.shuts == other.shuts && self.out == other.out
    }

    /// Takes in another post of it. One beyond those of a thousand members is none: its author could go on for ever.
    fn merge(&mut self, more: Self) {
        if self.posts.len() >= POSTS_MAX || self.members.len() >= MEMBERS_KEPT_MAX {
            return;
        }
        self.members.extend(more.members);
        self.part = self.part.take().or(more.part);
        self.at_ms = self.at_ms.min(more.at_ms);
        self.until_ms = self.until_ms.min(more.until_ms);
        for post in more.posts {
            if !self.posts.contains(&post) {
                self.posts.push(post);
            }
        }
    }
}

/// Posts of one rotation that are heard: enough for a thousand members, also where many are out.
const POSTS_MAX: usize = 64;
/// Members of one rotation that are kept, before another post of it is heard.
const MEMBERS_KEPT_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
