//! The Noise handshake of a link, and the sealing of what flows behind it.
//!
//! `Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s`. The secret of the network is mixed in before the first message, so only
//! who knows it gets an answer. Handshake messages stand behind a length in two bytes.
//!
//! | message | payload | length |
//! |---|---|---|
//! | 1, from the dialing side | nothing | 48 |
//! | 2, from the accepting side | its proof of identity | 192 |
//! | 3, from the dialing side | its proof of identity | 160 |
//!
//! Who has an invite instead of a network key says which in front of the first message: eight bytes that say nothing to
//! others. So it is looked up and not tried, and strangers cost no more for it. Such a link carries one answer and ends.
//! The same way goes a member that was away when the secret changed: the bytes name its hatch, which only it can find.
//!
//! A **proof of identity** is the Ed25519 key and its signature over `"p2pd link v1\n" || role || handshake hash`. The
//! role is `i` for the side that dialed and `r` for the side that accepted; the hash is the one *before* the message
//! that carries the proof: both sides know it then, and it covers the fresh key of whoever reads the proof. A proof
//! seen on one link is therefore worthless on every other.
//!
//! Behind the handshake flows a stream of bytes, cut anywhere into Noise messages: a length in two bytes, then the
//! ciphertext. **Both directions change their key after every 2^20 messages of that direction.** Only the count
//! decides, because both ends know it without telling each other; the time of a change is nothing they could agree on.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::{BufMut, BytesMut};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use p2p_mesh::id::{PeerId, base32};
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::invite::{InviteId, Invites};
use crate::network::{NetworkKey, Ring};
use crate::rotation::{HatchId, Hatches};

/// Bytes of the length in front of a Noise message.
pub(super) const MESSAGE_PREFIX_LEN: usize = 2;
/// Bytes that fit into one Noise message.
pub(super) const PLAIN_LEN_MAX: usize = MESSAGE_LEN_MAX - TAG_LEN;

/// Who we are, towards everybody we link to.
pub(super) struct Identity {
    key: SigningKey,
    /// Fresh in each process: what proves who we are is the signature of `key`.
    static_key: Zeroizing<[u8; 32]>,
    pub(super) networks: Ring,
    invites: Invites,
    pub(super) hatches: Hatches,
}

/// What a handshake is made with that is no network's key, as the dialing side knows it.
pub(super) struct Entry<'a> {
    pub(super) network: &'a [u8; 16],
    /// Stands in front of the first message.
    pub(super) name: [u8; ENTRY_NAME_LEN],
    pub(super) psk: Zeroizing<[u8; 32]>,
    /// Who must be there.
    pub(super) peer: PeerId,
}

/// By what somebody got in who has no key of our networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EnteredBy {
    /// An invite.
    Invite(InviteId),
    /// The hatch of a member that was away: it must be this one.
    Hatch(PeerId),
}

/// What a handshake leads to.
pub(super) struct Secured {
    /// Who is there, proven.
    pub(super) peer: PeerId,
    /// Who dialed has no network key, but this.
    pub(super) entered: Option<EnteredBy>,
    /// For what we say.
    pub(super) sealer: Sealer,
    /// For what they say.
    pub(super) opener: Opener,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// A length that no handshake message has.
    #[error("what came is not p2pd")]
    NotP2pd,
    /// The first message was made with a secret that we do not have.
    #[error("it does not know the network secret")]
    WrongSecret,
    /// The other side read our first message and closed.
    #[error("refused the network secret (ours: {ours})")]
    Refused {
        /// The start of our network's id.
        ours: String,
    },
    /// The other side closed in the middle of the handshake.
    #[error("the handshake was ended by the other side")]
    Ended,
    /// A message that does not decrypt, or with a payload that none has.
    #[error("a handshake message is damaged")]
    Damaged,
    /// The key or its signature is not valid.
    #[error("the peer did not prove its identity")]
    Identity,
    /// Somebody else than the peer that was dialed.
    #[error("expected {}…, got {}…", .expected.short(), .got.short())]
    WrongPeer {
        /// Whom we dialed.
        expected: PeerId,
        /// Who proved to be there.
        got: PeerId,
    },
    /// The socket failed.
    #[error("{0}")]
    Socket(#[from] io::Error),
}

/// A Noise message that was not sealed by the peer, or not in this place. The link cannot be used any more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes does not decrypt")]
pub(super) struct OpenError {
    len: usize,
}

/// Encrypts one direction.
pub(super) struct Sealer(Direction);

/// Decrypts the other one.
pub(super) struct Opener(Direction);

struct Direction {
    /// Locked for writing only while a key changes, so that the two directions do not wait for each other.
    transport: Arc<RwLock<StatelessTransportState>>,
    messages: u64,
    rekey_every: u64,
}

#[derive(Clone, Copy)]
enum Role {
    Initiator,
    Responder,
}

impl Identity {
    pub(super) fn new(key: SigningKey, networks: Ring, (invites, hatches): (Invites, Hatches)) -> Self {
        Self { key, static_key: Zeroizing::new(rand::random()), networks, invites, hatches }
    }

    fn start(&self, network: &NetworkKey, role: Role) -> HandshakeState {
        self.start_with(&network.id, &network.psk(), role)
    }

    fn start_with(&self, network: &[u8; 16], psk: &[u8; 32], role: Role) -> HandshakeState {
        let prologue = [PROLOGUE, network].concat();
        let pattern = PATTERN.parse().expect("the name of the pattern is well-formed");
        let builder = Builder::new(pattern)
            .local_private_key(&*self.static_key)
            .and_then(|builder| builder.prologue(&prologue))
            .and_then(|builder| builder.psk(0, psk));
        let state = builder.and_then(|builder| match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        });
        state.expect("everything that the pattern needs is given")
    }

    /// Reads the first message with whatever secret it was made with.
    fn open_first(&self, first: &[u8]) -> Option<(HandshakeState, Option<EnteredBy>)> {
        if let Some((name, message)) = first.split_first_chunk::<ENTRY_NAME_LEN>()
            && let Some((psk, by)) = self.entry(name)
        {
            let mut state = self.start_with(&self.networks.id(), &psk, Role::Responder);
            open_payload(&mut state, message).ok()?;
            return Some((state, Some(by)));
        }
        self.networks.now().iter().find_map(|network| {
            let mut state = self.start(network, Role::Responder);
            open_payload(&mut state, first).is_ok().then_some((state, None))
        })
    }

    /// What an invite or a hatch of this name is made with.
    fn entry(&self, name: &[u8; ENTRY_NAME_LEN]) -> Option<(Zeroizing<[u8; 32]>, EnteredBy)> {
        let invite = InviteId(*name);
        if let Some(psk) = self.invites.psk(invite, &self.networks.id()) {
            return Some((psk, EnteredBy::Invite(invite)));
        }
        self.hatches.ours(HatchId(*name)).map(|hatch| (hatch.psk, EnteredBy::Hatch(hatch.peer)))
    }

    /// Key and signature, for the message that is written next.
    fn prove(&self, state: &HandshakeState, role: Role) -> [u8; PROOF_LEN] {
        let signature = self.key.sign(&signed_text(role, state.get_handshake_hash())).to_bytes();
        let mut proof = [0; PROOF_LEN];
        proof[..KEY_LEN].copy_from_slice(self.key.verifying_key().as_bytes());
        proof[KEY_LEN..].copy_from_slice(&signature);
        proof
    }
}

/// The handshake of the side that dialed, with one of our keys. An `expected` peer that is somebody else never learns
/// who we are.
///
/// # Errors
///
/// The other side is not a peer of our network, or not the one expected. The socket is of no more use.
pub(super) async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    identity: &Identity,
    network: &NetworkKey,
    expected: Option<PeerId>,
) -> Result<Secured, HandshakeError> {
    let state = identity.start(network, Role::Initiator);
    go_on(socket, identity, (state, &[]), expected).await.map_err(|error| match error {
        GoOnError::Refused => HandshakeError::Refused { ours: base32(&network.id)[..8].to_owned() },
        GoOnError::Other(error) => error,
    })
}

/// The same with an invite, or at a hatch.
///
/// # Errors
///
/// `Refused` where the other side does not know the invite, or what `initiate` gives.
pub(super) async fn initiate_entry<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    identity: &Identity,
    entry: &Entry<'_>,
) -> Result<Secured, HandshakeError> {
    let state = identity.start_with(entry.network, &entry.psk, Role::Initiator);
    go_on(socket, identity, (state, &entry.name), Some(entry.peer)).await.map_err(|error| match error {
        GoOnError::Refused => HandshakeError::Refused { ours: base32(entry.network)[..8].to_owned() },
        GoOnError::Other(error) => error,
    })
}

/// How the dialing side fails.
enum GoOnError {
    /// The other side read our first message and closed.
    Refused,
    Other(HandshakeError),
}

impl From<HandshakeError> for GoOnError {
    fn from(error: HandshakeError) -> Self {
        Self::Other(error)
    }
}

/// All three messages of the dialing side, the first behind `prefix`.
async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    identity: &Identity,
    (mut state, prefix): (HandshakeState, &[u8]),
    expected: Option<PeerId>,
) -> Result<Secured, GoOnError> {
    write_behind(socket, &mut state, prefix, &[]).await?;
    let answer = match read_message(socket).await {
        Err(HandshakeError::Ended) => return Err(GoOnError::Refused),
        other => other?,
    };
    let hash = state.get_handshake_hash().to_vec();
    let peer = verify(&open_payload(&mut state, &answer)?, Role::Responder, &hash)?;
    match expected {
        Some(expected) if expected != peer => return Err(HandshakeError::WrongPeer { expected, got: peer }.into()),
        Some(_) | None => (),
    }

    let proof = identity.prove(&state, Role::Initiator);
    write_message(socket, &mut state, &proof).await?;
    Ok(secured(state, peer, None))
}

/// The handshake of the side that accepted. Nothing is written before the other side showed that it knows one of the
/// secrets; that moment is told by `known`, unless it is only that of an invite.
///
/// # Errors
///
/// The other side is not a peer of one of our networks. The socket is of no more use.
pub(super) async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    identity: &Identity,
    known: impl FnOnce(),
) -> Result<Secured, HandshakeError> {
    let first = read_message(socket).await?;
    let (mut state, entered) = identity.open_first(&first).ok_or(HandshakeError::WrongSecret)?;
    if entered.is_none() {
        known();
    }

    let proof = identity.prove(&state, Role::Responder);
    write_message(socket, &mut state, &proof).await?;

    let third = read_message(socket).await?;
    let hash = state.get_handshake_hash().to_vec();
    let peer = verify(&open_payload(&mut state, &third)?, Role::Initiator, &hash)?;
    match entered {
        Some(EnteredBy::Hatch(member)) if member != peer => return Err(HandshakeError::Identity),
        Some(EnteredBy::Hatch(_) | EnteredBy::Invite(_)) | None => (),
    }
    Ok(secured(state, peer, entered))
}

impl Sealer {
    /// Adds one Noise message with `plain` in it to `out`: at most `PLAIN_LEN_MAX` bytes.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut BytesMut) {
        assert!(plain.len() <= PLAIN_LEN_MAX, "the writer cuts messages to size");
        let sealed_len = plain.len() + TAG_LEN;
        out.put_u16(u16::try_from(sealed_len).expect("the length was just checked"));
        let start = out.len();
        out.resize(start + sealed_len, 0);
        let transport = self.0.transport.read().unwrap_or_else(PoisonError::into_inner);
        transport
            .write_message(self.0.messages, plain, &mut out[start..])
            .expect("the buffer has room, and no link lives for 2^64 messages");
        drop(transport);
        self.0.count(StatelessTransportState::rekey_outgoing);
    }
}

impl Opener {
    /// Adds what is in one Noise message, given without its length, to `plain`.
    ///
    /// # Errors
    ///
    /// It is not the next message of the peer. `plain` is as it was.
    pub(super) fn open(&mut self, sealed: &[u8], plain: &mut BytesMut) -> Result<(), OpenError> {
        let start = plain.len();
        // The cipher works in place and wants room for the tag as well.
        plain.resize(start + sealed.len(), 0);
        let transport = self.0.transport.read().unwrap_or_else(PoisonError::into_inner);
        let opened = transport.read_message(self.0.messages, sealed, &mut plain[start..]);
        drop(transport);
        plain.truncate(start + opened.as_ref().copied().unwrap_or(0));
        opened.map_err(|_| OpenError { len: sealed.len() })?;
        self.0.count(StatelessTransportState::rekey_incoming);
        Ok(())
    }
}

impl Direction {
    fn count(&mut self, rekey: fn(&mut StatelessTransportState)) {
        self.messages += 1;
        if self.messages.is_multiple_of(self.rekey_every) {
            rekey(&mut self.transport.write().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Splits one Noise message, without its length, off the front of `bytes`; `None` while it is incomplete.
pub(super) fn split_message(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = bytes.split_first_chunk::<MESSAGE_PREFIX_LEN>()?;
    rest.get(..usize::from(u16::from_be_bytes(*prefix)))
}

/// Bytes that are missing until `bytes` begins with a whole Noise message, as far as it can be told.
pub(super) fn missing_bytes(bytes: &[u8]) -> usize {
    match bytes.split_first_chunk::<MESSAGE_PREFIX_LEN>() {
        Some((prefix, rest)) => usize::from(u16::from_be_bytes(*prefix)).saturating_sub(rest.len()),
        None => MESSAGE_PREFIX_LEN - bytes.len(),
    }
}

fn secured(state: HandshakeState, peer: PeerId, entered: Option<EnteredBy>) -> Secured {
    let transport = state.into_stateless_transport_mode().expect("all three messages went through");
    let transport = Arc::new(RwLock::new(transport));
    let direction = || Direction { transport: Arc::clone(&transport), messages: 0, rekey_every: REKEY_EVERY };
    Secured { peer, entered, sealer: Sealer(direction()), opener: Opener(direction()) }
}

async fn write_message<S: AsyncWrite + Unpin>(
    socket: &mut S,
    state: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), HandshakeError> {
    write_behind(socket, state, &[], payload).await
}

async fn write_behind<S: AsyncWrite + Unpin>(
    socket: &mut S,
    state: &mut HandshakeState,
    prefix: &[u8],
    payload: &[u8],
) -> Result<(), HandshakeError> {
    let mut message = [0; HANDSHAKE_LEN_MAX];
    let len = state.write_message(payload, &mut message).expect("it is our turn and the buffer has room");
    let sent_len = u16::try_from(prefix.len() + len).expect("the buffer is small");
    Ok(socket.write_all(&[&sent_len.to_be_bytes()[..], prefix, &message[..len]].concat()).await?)
}

async fn read_message<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Vec<u8>, HandshakeError> {
    let ended = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeError::Ended,
        _ => HandshakeError::Socket(error),
    };
    let len = usize::from(socket.read_u16().await.map_err(ended)?);
    if !(HANDSHAKE_LEN_MIN..=HANDSHAKE_LEN_MAX).contains(&len) {
        return Err(HandshakeError::NotP2pd);
    }
    let mut message = vec![0; len];
    socket.read_exact(&mut message).await.map_err(ended)?;
    Ok(message)
}

fn open_payload(state: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut payload = vec![0; message.len()];
    let len = state.read_message(message, &mut payload).map_err(|_| HandshakeError::Damaged)?;
    payload.truncate(len);
    Ok(payload)
}

/// Who is there, from a proof of identity.
fn verify(proof: &[u8], role: Role, hash: &[u8]) -> Result<PeerId, HandshakeError> {
    let proof: &[u8; PROOF_LEN] = proof.try_into().map_err(|_| HandshakeError::Identity)?;
    let (id, signature) = proof.split_first_chunk::<KEY_LEN>().expect("a proof is longer than a key");
    let signature = Signature::from_slice(signature).map_err(|_| HandshakeError::Identity)?;
    let key = VerifyingKey::from_bytes(id).map_err(|_| HandshakeError::Identity)?;
    key.verify_strict(&signed_text(role, hash), &signature).map_err(|_| HandshakeError::Identity)?;
    Ok(PeerId(*id))
}

fn signed_text(role: Role, hash: &[u8]) -> Vec<u8> {
    let role = match role {
        Role::Initiator => b'i',
        Role::Responder => b'r',
    };
    [CONTEXT, &[role], hash].concat()
}

/// Bytes in front of the first message that name an invite or a hatch.
pub(super) const ENTRY_NAME_LEN: usize = InviteId::LEN;
const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"p2pd/1";
const CONTEXT: &[u8] = b"p2pd link v1\n";
/// Bytes of the largest Noise message, by its specification.
const MESSAGE_LEN_MAX: usize = 65_535;
/// Bytes that a seal adds.
const TAG_LEN: usize = 16;
const KEY_LEN: usize = 32;
const PROOF_LEN: usize = KEY_LEN + 64;
/// The first message is the shortest: a fresh key and the seal of nothing.
const HANDSHAKE_LEN_MIN: usize = 48;
/// Leaves room for payloads to grow, and is below the first two bytes of HTTP, TLS and SSH read as a length.
const HANDSHAKE_LEN_MAX: usize = 512;
const REKEY_EVERY: u64 = 1 << 20;

#[cfg(test)]
pub(super) mod tests;
