//! The network's secret: who has it, and how it is changed. The secret itself is never told.

use std::collections::BTreeSet;
use std::time::Duration;

use p2p_mesh::id::{PeerId, base32};
use p2p_mesh::status::{Holder, HolderState, Receipt};
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;

use super::ask::{Asker, stopping, store_failed};
use super::convert::{count, invalid, parse_peer_id, refusal, time_us};
use super::{Facts, NetworkState, Order, Request, RotateError, RotateWish, Rotated};
use crate::names::Names;
use crate::rotation::{GRACE_MAX_MS, Rotation, Standing};

pub(super) async fn network(asker: &Asker, facts: &Facts, names: &Names) -> Result<v1::NetworkResponse, Error> {
    let network = base32(&facts.networks.id());
    if facts.open_network {
        return Ok(v1::NetworkResponse { network, open: true, ..v1::NetworkResponse::default() });
    }
    let state = asker.order(Order::Network).await?;
    let posts = state.rotation.iter().flat_map(|rotation| rotation.posts.clone()).collect();
    let receipts = asker.ask(|reply| Request::Receipts(posts, reply)).await?;
    Ok(shown(network, &state, &receipts, (facts.letters.me(), names)))
}

fn shown(
    network: String,
    state: &NetworkState,
    receipts: &[Receipt],
    (me, names): (PeerId, &Names),
) -> v1::NetworkResponse {
    let keys = state.keys.iter().enumerate().map(|(at, key)| v1::NetworkKey {
        name: key.name.to_string(),
        dialed: at == 0,
        until_us: key.until_ms.map_or(0, time_us),
    });
    let lost = state.lost_shuts.iter().map(|peer| member(peer, v1::NetworkMemberState::Unspecified, 0, names));
    v1::NetworkResponse {
        network,
        open: false,
        keys: keys.collect(),
        rotation: state.rotation.as_ref().map(|rotation| shown_rotation(rotation, state, receipts, (me, names))),
        shut_out: matches!(state.standing, Standing::ShutOut(_)),
        left_out: matches!(state.standing, Standing::LeftOut(_)),
        lost: lost.collect(),
    }
}

fn shown_rotation(
    rotation: &Rotation,
    state: &NetworkState,
    receipts: &[Receipt],
    (me, names): (PeerId, &Names),
) -> v1::Rotation {
    let called = names.called(&rotation.author);
    let members = rotation.members.iter().map(|peer| {
        let (state, seen_ms) = if *peer == me { own(state) } else { of_peer(peer, receipts) };
        member(peer, state, seen_ms, names)
    });
    let out = rotation.out.iter().map(|peer| member(peer, v1::NetworkMemberState::Out, 0, names));
    v1::Rotation {
        author: rotation.author.to_string(),
        author_name: called.name,
        author_petname: called.petname,
        at_us: time_us(rotation.at_ms),
        taken_us: time_us(state.taken_ms),
        members: members.collect(),
        out: out.collect(),
    }
}

fn own(state: &NetworkState) -> (v1::NetworkMemberState, u64) {
    match state.standing {
        Standing::In => (v1::NetworkMemberState::Taken, 0),
        Standing::ShutOut(_) | Standing::LeftOut(_) => (v1::NetworkMemberState::Unspecified, 0),
    }
}

/// Who holds all posts of a rotation has opened its part of it.
fn of_peer(peer: &PeerId, receipts: &[Receipt]) -> (v1::NetworkMemberState, u64) {
    let holders: Vec<&Holder> =
        receipts.iter().flat_map(|receipt| &receipt.holders).filter(|holder| holder.peer == *peer).collect();
    let seen_ms = holders.iter().map(|holder| holder.last_seen_ms).max().unwrap_or(0);
    let is = |state| holders.iter().any(|holder| holder.state == state);
    let state = if holders.is_empty() || is(HolderState::Away) {
        v1::NetworkMemberState::Away
    } else if is(HolderState::Linked) || is(HolderState::Sent) {
        v1::NetworkMemberState::Linked
    } else {
        v1::NetworkMemberState::Taken
    };
    (state, seen_ms)
}

fn member(peer: &PeerId, state: v1::NetworkMemberState, last_seen_ms: u64, names: &Names) -> v1::NetworkMember {
    let called = names.called(peer);
    v1::NetworkMember {
        id: peer.to_string(),
        name: called.name,
        petname: called.petname,
        state: state.into(),
        last_seen_us: time_us(last_seen_ms),
        name_owner: called.owner.map(|owner| owner.to_string()).unwrap_or_default(),
    }
}

pub(super) async fn rotate(
    asker: &Asker,
    request: &v1::RotateRequest,
    names: &Names,
) -> Result<v1::RotateResponse, Error> {
    let wish = wish_of(request)?;
    let done = asker.order(|reply| Order::Rotate(wish, reply)).await?;
    let Rotated { key, members, out, until_ms } = done.map_err(|error| told(&error, names))?;
    Ok(v1::RotateResponse {
        key: key.to_string(),
        members: count(members.len()),
        until_us: time_us(until_ms),
        out: out.iter().map(ToString::to_string).collect(),
    })
}

fn wish_of(request: &v1::RotateRequest) -> Result<RotateWish, Error> {
    let ids = |ids: &[String]| ids.iter().map(|id| parse_peer_id(id)).collect::<Result<BTreeSet<_>, _>>();
    let (without, readmit) = (ids(&request.without)?, ids(&request.readmit)?);
    if !without.is_empty() && request.grace_ms.is_some_and(|grace| grace > 0) {
        let why = "whoever is shut out knows the old secret, so there is no grace for it";
        return Err(invalid(why).with_hint("leave out --grace"));
    }
    let grace = request.grace_ms.map_or(GRACE, Duration::from_millis);
    if grace > GRACE_MAX {
        return Err(invalid(format!("the old secret is accepted for 30d at most, not {}", span(grace))));
    }
    Ok(RotateWish { without, readmit, grace })
}

fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn told(error: &RotateError, names: &Names) -> Error {
    let why = error.to_string();
    match error {
        RotateError::Stopping => stopping(),
        RotateError::NotKept(_) => store_failed(why),
        RotateError::Unsaid(said) => refusal(said),
        RotateError::Open => {
            invalid(why).with_hint("make a closed network: take open_network out of the configuration")
        }
        RotateError::Oneself => invalid(why).with_hint("another member can, with its own p2pctl"),
        RotateError::ShutOut => Error::new(Code::Untrusted, why)
            .with_hint("ask a member to let this daemon in again: p2pctl network rotate --readmit PEER"),
        RotateError::Unknown(peer) => {
            Error::new(Code::NotFound, format!("no peer {peer} is known here")).with_hint("see who is: p2pctl peers -a")
        }
        RotateError::NotOut(peer) => {
            invalid(format!("{} is not shut out", names.shown(peer))).with_hint("see who is: p2pctl network")
        }
        RotateError::Both(peer) => {
            invalid(format!("{} cannot be shut out and let in at once", names.shown(peer))).with_hint("say one of them")
        }
        RotateError::Plan(_) => {
            Error::new(Code::TooLarge, why).with_hint("let some in again that cannot come any more: --readmit PEER")
        }
        RotateError::Crowd(_) => {
            Error::new(Code::TooLarge, why).with_hint("forget those that will not come back: p2pctl peers forget PEER")
        }
    }
}

const GRACE: Duration = Duration::from_secs(86_400);
const GRACE_MAX: Duration = Duration::from_millis(GRACE_MAX_MS);

#[cfg(test)]
mod tests {
    use p2p_mesh::effect::Refusal;

    use super::*;
    use crate::rotation::PlanError;

    #[test]
    fn whatever_keeps_the_secret_from_being_changed_is_told_with_what_to_do() {
        let peer = PeerId([7; 32]);
        for (error, code, why, hint) in [
            (RotateError::Open, Code::InvalidArgument, "open_network is set", "take open_network out"),
            (RotateError::ShutOut, Code::Untrusted, "this daemon was shut out", "network rotate --readmit"),
            (RotateError::Oneself, Code::InvalidArgument, "cannot shut out itself", "another member can"),
            (RotateError::Unknown(peer), Code::NotFound, "no peer ", "p2pctl peers -a"),
            (RotateError::NotOut(peer), Code::InvalidArgument, " is not shut out", "p2pctl network"),
            (RotateError::Both(peer), Code::InvalidArgument, "shut out and let in at once", "say one of them"),
            (RotateError::Plan(PlanError::TooMany(65)), Code::TooLarge, "the limit is 64", "--readmit PEER"),
            (RotateError::Crowd(1_001), Code::TooLarge, "the limit is 1000", "peers forget"),
        ] {
            let told = told(&error, &Names::default());
            assert_eq!(told.code, code, "{error:?}");
            let text = format!("{told:?}");
            assert!(text.contains(why) && text.contains(hint), "{text}");
        }
        for error in [RotateError::NotKept("full".into()), RotateError::Stopping, RotateError::Unsaid(Refusal::Empty)] {
            assert!(!told(&error, &Names::default()).to_string().is_empty());
        }
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_refused_before_anything_is_asked() {
        let id = PeerId([7; 32]).to_string();
        let wish = |without: &[&str], grace_ms| v1::RotateRequest {
            without: without.iter().map(|id| (*id).to_owned()).collect(),
            grace_ms,
            ..v1::RotateRequest::default()
        };
        assert!(wish_of(&wish(&["nobody"], None)).is_err());
        assert!(wish_of(&wish(&[&id], Some(1))).is_err());
        assert!(wish_of(&wish(&[&id], Some(0))).is_ok());
        assert!(wish_of(&wish(&[], Some(u64::MAX))).is_err());
        assert_eq!(wish_of(&wish(&[], None)).map(|wish| wish.grace).ok(), Some(GRACE));
    }
}
