//! What two peers say to each other alone: sealed before the mesh sees it, opened before our user does.
//!
//! A letter is encrypted with the key that only its author's and its recipient's keys together give (X25519 of the
//! identities, then `XChaCha20Poly1305`), so both can open it for as long as they have their identity. The envelope that
//! carries it is signed by the author; inside, the letter names author and recipient once more, so that nobody can pass
//! one on as a word of his own, and what it is for, so that nobody can pass one off as another kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crypto_box::aead::Aead;
use crypto_box::{ChaChaBox, PublicKey, SecretKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use p2p_mesh::envelope::Direct;
use p2p_mesh::id::{Hash, PeerId, base64url, bytes_from_base64url};
use zeroize::Zeroizing;

/// Seals and opens with our identity. Cheap to clone; the key never leaves it.
#[derive(Clone)]
pub struct Letters(Arc<Desk>);

struct Desk {
    me: PeerId,
    secret: SecretKey,
    /// What nonces of letters with an idempotency key are made with.
    nonce_key: Zeroizing<[u8; 32]>,
    /// One for each peer that we write with: making one costs more than opening a letter.
    boxes: Mutex<BTreeMap<PeerId, ChaChaBox>>,
}

/// What a letter is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// For its recipient's eyes.
    Text,
    /// A key of the network, for its recipient's daemon.
    Key,
}

/// What opening a letter gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// It is of others, for others.
    NotOurs,
    /// It is ours, and cannot be read: its author's program did something wrong, or its author did.
    Unreadable,
    /// What it says.
    Text(String),
}

/// A recipient whose id is no key that anybody can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is no key that a message can be sealed to")]
pub struct NoKey(pub PeerId);

impl Letters {
    /// Those of this identity.
    #[must_use]
    pub fn new(key: &SigningKey) -> Self {
        let me = PeerId(key.verifying_key().to_bytes());
        let secret = SecretKey::from(*Zeroizing::new(key.to_scalar_bytes()));
        let nonce_key = Zeroizing::new(blake3::derive_key(NONCE_CONTEXT, &*Zeroizing::new(key.to_bytes())));
        Self(Arc::new(Desk { me, secret, nonce_key, boxes: Mutex::default() }))
    }

    /// Whose they are.
    #[must_use]
    pub fn me(&self) -> PeerId {
        self.0.me
    }

    /// Seals a text for a peer. With an idempotency key the same text becomes the same letter again, as whoever repeats a
    /// send expects; without one no two letters are alike.
    ///
    /// # Errors
    ///
    /// The peer's id is no key.
    pub fn seal(&self, to: PeerId, text: &str, key: Option<&str>) -> Result<Direct, NoKey> {
        let nonce = match key {
            Some(key) => self.nonce_of(&to, text, key),
            None => rand::random(),
        };
        Ok(Direct { to, sealed: self.encrypt(Purpose::Text, to, text, &nonce)? })
    }

    /// Seals a network's key for a peer's daemon, or for our own.
    ///
    /// # Errors
    ///
    /// The peer's id is no key.
    pub fn seal_key(&self, to: PeerId, key: &str) -> Result<String, NoKey> {
        self.encrypt(Purpose::Key, to, key, &rand::random())
    }

    /// Opens a network's key that `author` sealed for us; none where it did not.
    #[must_use]
    pub fn open_key(&self, author: &PeerId, sealed: &str) -> Option<Zeroizing<String>> {
        self.decrypt(Purpose::Key, (author, &self.0.me), author, sealed).map(Zeroizing::new)
    }

    /// A key that nobody has but we and a peer, the same for both as long as they ask for the same purpose. None where
    /// the peer's id is no key.
    #[must_use]
    pub fn pair_key(&self, peer: &PeerId, purpose: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        // Nothing else is ever sealed under this nonce: those of letters are drawn from the same space at random.
        let nonce: [u8; NONCE_LEN] = first_bytes(&blake3::derive_key(PAIR_NONCE_CONTEXT, purpose));
        let sealed = self.with_box(peer, |shared| shared.encrypt((&nonce).into(), [0; 32].as_slice()).ok())??;
        Some(Zeroizing::new(blake3::derive_key(PAIR_KEY_CONTEXT, &Zeroizing::new(sealed))))
    }

    /// Opens a letter that `author` signed.
    #[must_use]
    pub fn open(&self, author: &PeerId, letter: &Direct) -> Opened {
        let me = &self.0.me;
        let other = match (author == me, letter.to == *me) {
            (true, _) => &letter.to,
            (false, true) => author,
            (false, false) => return Opened::NotOurs,
        };
        let text = self.decrypt(Purpose::Text, (author, &letter.to), other, &letter.sealed);
        text.map_or(Opened::Unreadable, Opened::Text)
    }

    fn encrypt(&self, purpose: Purpose, to: PeerId, text: &str, nonce: &[u8; NONCE_LEN]) -> Result<String, NoKey> {
        let padded = pad(&ends(purpose, &self.0.me, &to), text);
        let sealed = self.with_box(&to, |shared| shared.encrypt(nonce.into(), padded.as_slice()).ok());
        let sealed = sealed.flatten().ok_or(NoKey(to))?;
        Ok(base64url(&[nonce, sealed.as_slice()].concat()))
    }

    fn decrypt(
        &self,
        purpose: Purpose,
        (author, to): (&PeerId, &PeerId),
        other: &PeerId,
        sealed: &str,
    ) -> Option<String> {
        let bytes = decode(sealed)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let padded = self.with_box(other, |shared| shared.decrypt(nonce.into(), sealed).ok())?;
        unpad(&ends(purpose, author, to), &Zeroizing::new(padded?))
    }

    fn nonce_of(&self, to: &PeerId, text: &str, key: &str) -> [u8; NONCE_LEN] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.nonce_key);
        hasher.update(&to.0).update(&(key.len() as u64).to_be_bytes()).update(key.as_bytes()).update(text.as_bytes());
        first_bytes(hasher.finalize().as_bytes())
    }

    /// None where the peer's id is no key.
    fn with_box<T>(&self, peer: &PeerId, work: impl FnOnce(&ChaChaBox) -> T) -> Option<T> {
        let mut boxes = self.boxes();
        if !boxes.contains_key(peer) {
            let key = VerifyingKey::from_bytes(&peer.0).ok().filter(|key| !key.is_weak())?;
            let public = PublicKey::from(key.to_montgomery().to_bytes());
            if boxes.len() >= BOXES_MAX {
                boxes.clear();
            }
            boxes.insert(*peer, ChaChaBox::new(&public, &self.0.secret));
        }
        boxes.get(peer).map(work)
    }

    fn boxes(&self) -> MutexGuard<'_, BTreeMap<PeerId, ChaChaBox>> {
        // Nothing in it can be left half done.
        self.0.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").field("me", &self.0.me).finish_non_exhaustive()
    }
}

fn first_bytes(hash: &[u8; 32]) -> [u8; NONCE_LEN] {
    std::array::from_fn(|at| hash[at])
}

/// Who says it to whom, the length, the text, and zeros up to the next step.
fn pad(ends: &Hash, text: &str) -> Zeroizing<Vec<u8>> {
    let len = HEAD_LEN + text.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(padded_len(len)));
    bytes.extend_from_slice(&ends.0);
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(padded_len(len), 0);
    bytes
}

fn unpad(ends: &Hash, bytes: &[u8]) -> Option<String> {
    let (said, rest) = bytes.split_first_chunk::<32>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let text = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    if *said != ends.0 {
        return None;
    }
    String::from_utf8(text.to_vec()).ok()
}

/// Both ends in their order: the shared key is the same for both directions.
fn ends(purpose: Purpose, author: &PeerId, to: &PeerId) -> Hash {
    let context = match purpose {
        Purpose::Text => CONTEXT,
        Purpose::Key => KEY_CONTEXT,
    };
    Hash::of(&[context, &author.0, &to.0].concat())
}

/// Doubled up to a page, then in pages: the length of what is sealed tells little of what is said, and costs little.
fn padded_len(len: usize) -> usize {
    if len <= PAD_MAX { len.next_power_of_two().max(PAD_MIN) } else { len.next_multiple_of(PAD_MAX) }
}

fn decode(sealed: &str) -> Option<Vec<u8>> {
    if sealed.len() > SEALED_LEN_MAX {
        return None;
    }
    bytes_from_base64url(sealed).ok()
}

const CONTEXT: &[u8] = b"p2pd direct v1\n";
const KEY_CONTEXT: &[u8] = b"p2pd network key v1\n";
const PAIR_NONCE_CONTEXT: &str = "p2pd pair nonce v1";
const PAIR_KEY_CONTEXT: &str = "p2pd pair key v1";
const NONCE_CONTEXT: &str = "p2pd direct nonce v1";
const NONCE_LEN: usize = 24;
/// Ends and length.
const HEAD_LEN: usize = 36;
const PAD_MIN: usize = 128;
const PAD_MAX: usize = 4_096;
/// Nothing that we seal is longer: 16 KiB of text, padded, as base64.
const SEALED_LEN_MAX: usize = 28_000;
/// Shared keys kept ready.
const BOXES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2p_mesh::limits::TEXT_LEN_MAX;

    use super::*;

    fn letters(seed: u8) -> Letters {
        Letters::new(&SigningKey::from_bytes(&[seed; 32]))
    }

    fn text(text: &str) -> Opened {
        Opened::Text(text.to_owned())
    }

    #[test]
    fn author_and_recipient_read_a_letter_and_nobody_else_does() {
        let (alice, bob, carol) = (letters(1), letters(2), letters(3));
        for said in ["hi", "", "é\u{202e}\n", &"x".repeat(TEXT_LEN_MAX)] {
            let letter = alice.seal(bob.me(), said, None).unwrap();
            assert_eq!(bob.open(&alice.me(), &letter), text(said));
            assert_eq!(alice.open(&alice.me(), &letter), text(said));
            assert_eq!(carol.open(&alice.me(), &letter), Opened::NotOurs);
            assert!(letter.sealed.len() <= SEALED_LEN_MAX, "{}", letter.sealed.len());
            let stolen = Direct { to: carol.me(), ..letter };
            assert_eq!(carol.open(&alice.me(), &stolen), Opened::Unreadable);
        }
    }

    #[test]
    fn a_letter_that_is_copied_or_turned_round_is_nobodys_word() {
        let (alice, bob, mallory) = (letters(1), letters(2), letters(3));
        let letter = alice.seal(bob.me(), "hi", None).unwrap();
        assert_eq!(bob.open(&mallory.me(), &letter), Opened::Unreadable);
        let back = Direct { to: alice.me(), sealed: letter.sealed.clone() };
        assert_eq!(alice.open(&bob.me(), &back), Opened::Unreadable, "the key is the same both ways");
        assert_eq!(bob.open(&bob.me(), &back), Opened::Unreadable);
    }

    #[test]
    fn one_changed_bit_anywhere_and_every_garbage_cannot_be_read() {
        let (alice, bob) = (letters(1), letters(2));
        let letter = alice.seal(bob.me(), "hi", None).unwrap();
        let bytes = bytes_from_base64url(&letter.sealed).unwrap();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert_eq!(bob.open(&alice.me(), &Direct { to: bob.me(), sealed: base64url(&bent) }), Opened::Unreadable);
        }
        for garbage in ["", "%", "AAAA", &letter.sealed[..40], &"A".repeat(SEALED_LEN_MAX + 4)] {
            let letter = Direct { to: bob.me(), sealed: garbage.to_owned() };
            assert_eq!(bob.open(&alice.me(), &letter), Opened::Unreadable, "{garbage}");
        }
    }

    #[test]
    fn the_length_of_a_letter_tells_little_of_its_text() {
        let (alice, bob) = (letters(1), letters(2));
        let len = |said: usize| alice.seal(bob.me(), &"x".repeat(said), None).unwrap().sealed.len();
        assert_eq!(len(1), len(92));
        assert_eq!(len(93), len(220));
        assert_eq!(len(4_061), len(8_156));
    }

    #[test]
    fn a_letter_is_the_same_again_only_with_the_same_key_and_text() {
        let (alice, bob) = (letters(1), letters(2));
        let seal = |said: &str, key| alice.seal(bob.me(), said, key).unwrap().sealed;
        assert_ne!(seal("hi", None), seal("hi", None));
        assert_eq!(seal("hi", Some("k")), seal("hi", Some("k")));
        assert_ne!(seal("hi", Some("k")), seal("hi", Some("l")));
        assert_ne!(seal("hi", Some("k"))[..32], seal("ho", Some("k"))[..32], "no nonce is used for two texts");
        assert_ne!(seal("xhi", Some("k"))[..32], seal("hi", Some("kx"))[..32]);
    }

    #[test]
    fn a_networks_key_is_for_one_daemon_and_no_letter_passes_for_one() {
        let (alice, bob, carol) = (letters(1), letters(2), letters(3));
        let key = alice.seal_key(bob.me(), "secret").unwrap();
        assert_eq!(bob.open_key(&alice.me(), &key).as_deref().map(String::as_str), Some("secret"));
        assert_eq!(carol.open_key(&alice.me(), &key), None);
        assert_eq!(bob.open_key(&carol.me(), &key), None);
        let letter = alice.seal(bob.me(), "secret", None).unwrap();
        assert_eq!(bob.open_key(&alice.me(), &letter.sealed), None);
        assert_eq!(bob.open(&alice.me(), &Direct { to: bob.me(), sealed: key }), Opened::Unreadable);
        let own = alice.seal_key(alice.me(), "mine").unwrap();
        assert_eq!(alice.open_key(&alice.me(), &own).as_deref().map(String::as_str), Some("mine"));
    }

    #[test]
    fn two_have_a_key_for_each_purpose_that_no_third_has() {
        let (alice, bob, carol) = (letters(1), letters(2), letters(3));
        let key = alice.pair_key(&bob.me(), b"door");
        assert!(key.is_some());
        assert_eq!(bob.pair_key(&alice.me(), b"door"), key);
        assert_ne!(bob.pair_key(&alice.me(), b"window"), key);
        assert_ne!(carol.pair_key(&alice.me(), b"door"), key);
        assert_eq!(alice.pair_key(&PeerId([2; 32]), b"door"), None);
    }

    #[test]
    fn nothing_is_sealed_to_what_is_no_key() {
        let mut identity = [0; 32];
        identity[0] = 1;
        for odd in [identity, [2; 32]] {
            assert_eq!(letters(1).seal(PeerId(odd), "hi", None), Err(NoKey(PeerId(odd))));
        }
    }
}
