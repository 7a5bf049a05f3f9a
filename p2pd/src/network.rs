//! The network: who shares its secret may join.

use zeroize::Zeroizing;

/// A closed group: a random public id and a secret.
#[derive(Clone)]
pub struct NetworkKey {
    /// Public: shown in `status`.
    pub id: [u8; 16],
    /// Known to members only.
    pub secret: Zeroizing<[u8; 32]>,
}

impl NetworkKey {
    /// The network without a secret, for `open_network: true`.
    #[must_use]
    pub fn open() -> Self {
        Self { id: [0; 16], secret: Zeroizing::new([0; 32]) }
    }

    /// The pre-shared key of the handshake.
    #[must_use]
    pub fn psk(&self) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key("p2pd link psk v1");
        hasher.update(&self.id);
        hasher.update(&*self.secret);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl std::fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetworkKey({}, secret hidden)", p2p_mesh::id::base32(&self.id))
    }
}
