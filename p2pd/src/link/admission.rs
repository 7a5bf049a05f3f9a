//! How a network's key goes to somebody with an invite, or to a member that was away when it changed: one sealed answer
//! behind the handshake, then the link ends.
//!
//! ```json
//! {"type":"welcome","keys":["p2pd-network-v1 ID SECRET"]}
//! {"type":"refused","code":"used"}
//! ```

use std::time::Duration;

use bytes::BytesMut;
use p2p_mesh::id::PeerId;
use p2p_mesh::limits::CLOSE_TIMEOUT;
use p2p_mesh::membership::record::Addr;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::LinkEvent;
use super::dialer::{Failure, Handshake, open_with};
use super::half_open::Slot;
use super::secure::{EnteredBy, Entry, Secured};
use super::shared::Shared;
use crate::invite::{self, AdmissionError, InviteError, InviteId, Pass, Refusal, Ticket};
use crate::keyfile::Secret;
use crate::network::{NETWORKS_MAX, NetworkKey};
use crate::rotation::Given;

/// What the issuer answers.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    /// The lines of a network key file.
    Welcome { keys: Vec<String> },
    /// The name of a `Refusal`.
    Refused { code: String },
}

/// Answers somebody who proved to have an invite, or to be a member. The place among the half-open links is held until it
/// is done.
pub(super) async fn admit(shared: &Shared, socket: TcpStream, secured: Secured, by: EnteredBy, slot: Slot) {
    let evicted = slot.evicted.clone();
    tokio::select! {
        () = shared.stop.cancelled() => (),
        () = evicted.cancelled() => (),
        // Where the disk takes too long, he asks again.
        _ = timeout(ADMIT_TIMEOUT, answer(shared, socket, secured, by)) => (),
    }
}

async fn answer(shared: &Shared, mut socket: TcpStream, mut secured: Secured, by: EnteredBy) {
    let peer = secured.peer;
    let answer = match by {
        EnteredBy::Invite(invite) => answer_invite(shared, peer, invite).await,
        EnteredBy::Hatch(_) => answer_hatch(shared, peer),
    };
    let Some(answer) = answer else { return };
    let plain = Zeroizing::new(serde_json::to_vec(&answer).expect("texts are always JSON"));
    let mut sealed = BytesMut::new();
    secured.sealer.seal(&plain, &mut sealed);
    if socket.write_all(&sealed).await.is_ok() {
        // He closes first: were it closed here, a reset might overtake the answer.
        let _ = timeout(CLOSE_TIMEOUT, socket.read_u8()).await;
    }
}

/// The key that holds; none for who was shut out while the handshake was made.
fn answer_hatch(shared: &Shared, peer: PeerId) -> Option<Answer> {
    // Hatches are closed before a new key holds: what is read first and allowed then was still for this peer.
    let answer = welcome(shared, 1);
    if !shared.identity.hatches.is_open_to(&peer) {
        return None;
    }
    tracing::info!(?peer, "network_key_given");
    shared.identity.hatches.note_given();
    Some(answer)
}

/// Notes the use of an invite; none where nobody may be answered.
async fn answer_invite(shared: &Shared, peer: PeerId, invite: InviteId) -> Option<Answer> {
    let (reply, noted) = oneshot::channel();
    let noted = {
        // One after the other: whoever has a ticket, used or not, could else keep the disk flushing.
        let _alone = shared.entering.lock().await;
        if !shared.tell(LinkEvent::Entry { invite, peer, reply }).await {
            return None;
        }
        noted.await
    };
    match noted {
        Ok(Ok(())) => {
            tracing::info!(?peer, ?invite, "invite_used");
            Some(welcome(shared, NETWORKS_MAX))
        }
        Ok(Err(InviteError::Refused(refusal))) => {
            tracing::info!(?peer, ?invite, why = refusal.name(), "invite_refused");
            Some(Answer::Refused { code: refusal.name().to_owned() })
        }
        // Without a note on disk there is no key, and without an answer he may ask again.
        Ok(Err(InviteError::NotKept(why))) => {
            tracing::warn!(?peer, ?invite, ?why, "invite_not_noted");
            None
        }
        Err(_) => None,
    }
}

/// Of several networks it is the one that is dialed; it may have several secrets, the newest first.
fn welcome(shared: &Shared, keys_max: usize) -> Answer {
    let networks = shared.identity.networks.now();
    let lines = networks.iter().filter(|key| key.id == networks[0].id).take(keys_max).map(NetworkKey::to_line);
    let lines: Vec<Secret> = lines.collect();
    Answer::Welcome { keys: lines.iter().map(|line| line.reveal().to_owned()).collect() }
}

/// The peer at an address does not accept our keys, which it may have replaced: asks for the one that holds, at the
/// hatch of whoever may be there. What comes is handed on; without it nothing is different.
pub(super) async fn ask_members(shared: &Shared, addr: &Addr, expected: Option<PeerId>) {
    let network = shared.identity.networks.id();
    for hatch in shared.identity.hatches.at(&network, expected) {
        let entry = Entry { network: &network, name: hatch.id.0, psk: hatch.psk, peer: hatch.peer };
        match open_with(shared, addr, Handshake::Entry(&entry)).await {
            Ok((socket, secured)) => {
                match read(socket, secured, &network).await {
                    Ok(keys) => shared.identity.hatches.give(Given { by: hatch.peer, keys }),
                    Err(error) => tracing::debug!(peer = ?hatch.peer, %error, "network_key_not_given"),
                }
                return;
            }
            // Somebody else is there, or nobody at all: another name changes nothing.
            Err(failure) if !failure.is_other_key => return,
            Err(_) => (),
        }
    }
}

/// Asks the issuer of a ticket for the keys of its network, at each address until one answers.
pub(super) async fn ask(shared: &Shared, ticket: &Ticket) -> Result<Vec<NetworkKey>, AdmissionError> {
    let Pass::Invite { id, key, .. } = &ticket.pass else {
        return Ok(ticket.network_key().into_iter().collect());
    };
    let psk = invite::psk(*id, &ticket.network, key);
    let entry = Entry { network: &ticket.network, name: id.0, psk, peer: ticket.issuer };
    let mut worst: Option<Failure> = None;
    for addr in &ticket.addrs {
        match open_with(shared, addr, Handshake::Entry(&entry)).await {
            Ok((socket, secured)) => return read(socket, secured, &ticket.network).await,
            Err(failure) if worst.as_ref().is_none_or(|worst| failure.weight() > worst.weight()) => {
                worst = Some(failure);
            }
            Err(_) => (),
        }
    }
    Err(worst.map_or_else(
        || AdmissionError::Unreachable("no address is in the ticket".into()),
        |failure| failed(failure, ticket),
    ))
}

fn failed(failure: Failure, ticket: &Ticket) -> AdmissionError {
    use p2p_mesh::input::DialFailure;
    match (failure.reason, failure.met) {
        (_, Some(got)) => AdmissionError::WrongIssuer { expected: ticket.issuer, got },
        (DialFailure::Refused, None) => AdmissionError::Refused(Refusal::Unknown),
        (DialFailure::Unreachable | DialFailure::WrongPeer, None) => AdmissionError::Unreachable(failure.detail),
    }
}

async fn read(
    mut socket: TcpStream,
    mut secured: Secured,
    network: &[u8; 16],
) -> Result<Vec<NetworkKey>, AdmissionError> {
    let unreadable = || AdmissionError::Unreachable("its issuer did not answer: try again".to_owned());
    let sealed = timeout(ADMIT_TIMEOUT, read_sealed(&mut socket)).await.ok().flatten().ok_or_else(unreadable)?;
    let mut plain = BytesMut::new();
    secured.opener.open(&sealed, &mut plain).map_err(|_| unreadable())?;
    let plain = Zeroizing::new(Vec::from(plain));
    match serde_json::from_slice(&plain).map_err(|_| unreadable())? {
        Answer::Refused { code } => Err(AdmissionError::Refused(Refusal::of_name(&code))),
        Answer::Welcome { keys } => {
            let lines = Zeroizing::new(keys.concat());
            let keys = NetworkKey::parse_all(&lines).map_err(|_| unreadable())?;
            // It is about one network, and about no other.
            if keys.iter().any(|key| key.id != *network) { Err(unreadable()) } else { Ok(keys) }
        }
    }
}

async fn read_sealed(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let len = usize::from(socket.read_u16().await.ok()?);
    if len > ANSWER_LEN_MAX {
        return None;
    }
    let mut sealed = vec![0; len];
    socket.read_exact(&mut sealed).await.ok()?;
    Some(sealed)
}

/// For a use to be noted on disk, and for the answer to come.
const ADMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Three keys have some 350 bytes.
const ANSWER_LEN_MAX: usize = 4_096;
