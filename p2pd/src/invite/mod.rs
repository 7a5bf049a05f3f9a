//! Invites: how somebody gets the key of a network who has none.
//!
//! An invite is a key of its own. Its ticket holds that key, the issuer's id and where it is to be found; the handshake
//! of a link with that key leads to nothing but the network's key, and only after the use was noted on disk.

mod blocks;
mod ticket;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use p2p_mesh::id::{PeerId, base32};
use zeroize::Zeroizing;

pub use ticket::{Pass, Ticket, TicketError};

/// Names an invite.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InviteId(pub [u8; InviteId::LEN]);

/// An invite as its issuer keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Its name.
    pub id: InviteId,
    /// Known to whoever has the ticket.
    pub key: Zeroizing<[u8; 32]>,
    /// Seconds since 1970.
    pub made_s: u64,
    /// From then on it lets nobody in, seconds since 1970.
    pub expires_s: u64,
    /// So many may use it.
    pub uses_max: u32,
    /// So many have.
    pub uses: u32,
    /// Its issuer took it back.
    pub is_revoked: bool,
}

/// Why an invite lets somebody not in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The issuer has no such invite, or not any more.
    Unknown,
    /// Its time is over.
    Expired,
    /// As many have used it as may.
    Used,
    /// Its issuer took it back.
    Revoked,
}

/// A change of the invites that are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InviteChange {
    /// A new one.
    Add(Invite),
    /// Takes one back.
    Revoke(InviteId),
    /// Takes all back: they were for another network.
    RevokeAll,
    /// Somebody wants in. Who got in once may come again: he may have missed the answer.
    Use {
        /// By which.
        id: InviteId,
        /// Who.
        peer: PeerId,
        /// Seconds since 1970.
        now_s: u64,
    },
}

/// A change that was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InviteError {
    /// The invite does not allow it.
    #[error("{0}")]
    Refused(Refusal),
    /// The disk does not take it.
    #[error("{0}")]
    NotKept(String),
}

/// Why this daemon is not let into a network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdmissionError {
    /// Nobody answers where the ticket says.
    #[error("{0}")]
    Unreachable(String),
    /// Somebody else answers there.
    #[error("expected {}…, got {}…", .expected.short(), .got.short())]
    WrongIssuer {
        /// Who made the ticket.
        expected: PeerId,
        /// Who proved to be there.
        got: PeerId,
    },
    /// The issuer does not let us in.
    #[error("{0}")]
    Refused(Refusal),
}

/// What binds a daemon to the network that it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ties {
    /// Peers of it that are known.
    pub peers: usize,
    /// Posts of others that are held.
    pub posts: u64,
}

/// The keys of the invites that are known, for handshakes. Shared.
#[derive(Clone, Debug, Default)]
pub struct Invites(Arc<RwLock<BTreeMap<InviteId, Invite>>>);

impl InviteId {
    /// Bytes of it.
    pub const LEN: usize = 8;

    /// One that nobody has.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random())
    }
}

impl std::fmt::Display for InviteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&base32(&self.0))
    }
}

impl std::fmt::Debug for InviteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

impl std::str::FromStr for InviteId {
    type Err = p2p_mesh::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(p2p_mesh::id::from_base32(text)?))
    }
}

impl Invite {
    /// Whether one more may use it now.
    ///
    /// # Errors
    ///
    /// It lets nobody in any more, and this is why.
    pub fn check(&self, now_s: u64) -> Result<(), Refusal> {
        if self.is_revoked {
            Err(Refusal::Revoked)
        } else if now_s >= self.expires_s {
            Err(Refusal::Expired)
        } else if self.uses >= self.uses_max {
            Err(Refusal::Used)
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invite({}, {} of {} uses, key hidden)", self.id, self.uses, self.uses_max)
    }
}

impl Refusal {
    /// Its name, as it goes over a link.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
        }
    }

    /// The one with this name. Whatever a later version may say means that the ticket is worth nothing.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        [Self::Expired, Self::Used, Self::Revoked].into_iter().find(|one| one.name() == name).unwrap_or(Self::Unknown)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "its issuer does not know the ticket, or not any more",
            Self::Expired => "the ticket has expired",
            Self::Used => "the ticket is already used",
            Self::Revoked => "the ticket was taken back",
        })
    }
}

impl Invites {
    /// From now on these are known.
    pub fn set(&self, invites: impl IntoIterator<Item = Invite>) {
        let invites = invites.into_iter().map(|invite| (invite.id, invite)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = invites;
    }

    /// The pre-shared key of the handshake for an invite to a network.
    #[must_use]
    pub fn psk(&self, id: InviteId, network: &[u8; 16]) -> Option<Zeroizing<[u8; 32]>> {
        let invites = self.0.read().unwrap_or_else(PoisonError::into_inner);
        invites.get(&id).map(|invite| psk(id, network, &invite.key))
    }
}

/// The pre-shared key of the handshake for an invite.
#[must_use]
pub fn psk(id: InviteId, network: &[u8; 16], key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key("p2pd invite psk v1");
    hasher.update(network);
    hasher.update(&id.0);
    hasher.update(key);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

/// Invites that are kept: of more, those that let nobody in any more go first, then the oldest.
pub const INVITES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_ends_by_time_by_use_or_by_being_taken_back() {
        let key = Zeroizing::new([1; 32]);
        let id = InviteId([2; 8]);
        let invite = Invite { id, key, made_s: 10, expires_s: 20, uses_max: 2, uses: 1, is_revoked: false };
        assert_eq!(invite.check(19), Ok(()));
        assert_eq!(invite.check(20), Err(Refusal::Expired));
        assert_eq!(Invite { uses: 2, ..invite.clone() }.check(19), Err(Refusal::Used));
        assert_eq!(Invite { is_revoked: true, ..invite.clone() }.check(19), Err(Refusal::Revoked));
        assert_eq!(format!("{invite:?}"), "Invite(aibaeaqcaibae, 1 of 2 uses, key hidden)");
    }

    #[test]
    fn a_refusal_survives_the_way_over_a_link() {
        for refusal in [Refusal::Unknown, Refusal::Expired, Refusal::Used, Refusal::Revoked] {
            assert_eq!(Refusal::of_name(refusal.name()), refusal);
        }
        assert_eq!(Refusal::of_name("moon"), Refusal::Unknown);
    }

    #[test]
    fn an_invite_to_one_network_is_none_to_another() {
        let invites = Invites::default();
        let (id, key) = (InviteId::generate(), Zeroizing::new([1; 32]));
        let invite = Invite { id, key, made_s: 1, expires_s: 2, uses_max: 1, uses: 0, is_revoked: false };
        assert_eq!(invites.psk(id, &[1; 16]), None);
        invites.set([invite]);
        assert_ne!(invites.psk(id, &[1; 16]), invites.psk(id, &[2; 16]));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
