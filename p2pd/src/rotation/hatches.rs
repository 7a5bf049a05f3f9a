//! Hatches: where a member that was away gets the key that holds now. Only the two of a hatch can make its handshake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use p2p_mesh::id::PeerId;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::letters::Letters;
use crate::network::NetworkKey;

/// Says in front of a handshake at which hatch it is made: bytes that tell nothing to others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HatchId(pub [u8; HatchId::LEN]);

/// A hatch between two members.
#[derive(Clone)]
pub struct Hatch {
    /// Its name.
    pub id: HatchId,
    /// The pre-shared key of its handshake.
    pub psk: Zeroizing<[u8; 32]>,
    /// The other one.
    pub peer: PeerId,
}

/// Keys that somebody gave us at its hatch.
#[derive(Debug)]
pub struct Given {
    /// Who.
    pub by: PeerId,
    /// At least one, of our network.
    pub keys: Vec<NetworkKey>,
}

/// All hatches that concern us. Shared: handshakes look, and who knows the rotations sets them.
#[derive(Clone, Debug)]
pub struct Hatches(Arc<Hall>);

#[derive(Debug)]
struct Hall {
    letters: Letters,
    table: RwLock<Table>,
    given_total: AtomicU64,
    given: mpsc::Sender<Given>,
}

#[derive(Debug, Default)]
struct Table {
    network: [u8; 16],
    /// Ours, by whoever may come in.
    ours: BTreeMap<HatchId, Hatch>,
    members: BTreeSet<PeerId>,
    /// At whose hatches we may ask.
    others: Vec<PeerId>,
    /// Who is asked first where it is not known who is at an address.
    turn: usize,
}

impl std::fmt::Debug for Hatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hatch({:?}, key hidden)", self.peer)
    }
}

impl HatchId {
    /// Bytes of it.
    pub const LEN: usize = 8;
}

impl Hatches {
    /// Without any; what is given to us at those of others goes into the channel.
    #[must_use]
    pub fn new(letters: Letters, given: mpsc::Sender<Given>) -> Self {
        Self(Arc::new(Hall { letters, table: RwLock::default(), given_total: AtomicU64::new(0), given }))
    }

    /// From now on these members of a network find our hatch, and we know these others.
    pub fn set(&self, network: [u8; 16], members: BTreeSet<PeerId>, others: Vec<PeerId>) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if (table.network, &table.members) != (network, &members) {
            let hatches = members.iter().filter_map(|peer| self.between(&network, peer, &self.0.letters.me(), peer));
            table.ours = hatches.map(|hatch| (hatch.id, hatch)).collect();
        }
        table.network = network;
        table.members = members;
        table.others = others;
    }

    /// From now on nobody but these finds our hatch, also who made half of its handshake.
    pub fn close_but_to(&self, members: &BTreeSet<PeerId>) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        table.ours.retain(|_, hatch| members.contains(&hatch.peer));
        table.members.retain(|peer| members.contains(peer));
    }

    /// Whether this peer finds our hatch.
    #[must_use]
    pub fn is_open_to(&self, peer: &PeerId) -> bool {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).members.contains(peer)
    }

    /// Our hatch of this name.
    #[must_use]
    pub fn ours(&self, id: HatchId) -> Option<Hatch> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).ours.get(&id).cloned()
    }

    /// The hatches to be tried at an address: of the peer that is expected there, else of some that are known, others each
    /// time.
    #[must_use]
    pub fn at(&self, network: &[u8; 16], expected: Option<PeerId>) -> Vec<Hatch> {
        let peers = expected.map_or_else(|| self.next_others(), |peer| vec![peer]);
        let me = self.0.letters.me();
        peers.iter().filter_map(|peer| self.between(network, &me, peer, peer)).collect()
    }

    /// Hands on what we were given. Where more comes than is looked at, the next dial asks again.
    pub fn give(&self, given: Given) {
        if let Err(error) = self.0.given.try_send(given) {
            tracing::debug!(%error, "given_key_dropped");
        }
    }

    /// Somebody who was away got the key at our hatch.
    pub fn note_given(&self) {
        self.0.given_total.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was since the start.
    #[must_use]
    pub fn given_total(&self) -> u64 {
        self.0.given_total.load(Ordering::Relaxed)
    }

    fn next_others(&self) -> Vec<PeerId> {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let count = table.others.len();
        let turn = table.turn;
        table.turn = turn.wrapping_add(TRIES_MAX);
        (0..count.min(TRIES_MAX)).map(|at| table.others[turn.wrapping_add(at) % count]).collect()
    }

    fn between(&self, network: &[u8; 16], dials: &PeerId, listens: &PeerId, peer: &PeerId) -> Option<Hatch> {
        let purpose = [PURPOSE, network, &dials.0, &listens.0].concat();
        let psk = self.0.letters.pair_key(peer, &purpose)?;
        let name = blake3::derive_key(NAME_CONTEXT, &*psk);
        Some(Hatch { id: HatchId(std::array::from_fn(|at| name[at])), psk, peer: *peer })
    }
}

const PURPOSE: &[u8] = b"p2pd hatch v1\n";
const NAME_CONTEXT: &str = "p2pd hatch name v1";
/// Hatches tried in one dial of an address where anybody may be: each takes a connection.
const TRIES_MAX: usize = 4;
