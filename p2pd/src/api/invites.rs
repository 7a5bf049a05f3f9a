//! Tickets: made, listed, taken back, and used.

use std::time::Duration;

use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;
use p2p_mesh::membership::record::Addr;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;

use super::ask::{Asker, stopping, store_failed};
use super::convert::{invalid, time_us};
use super::mesh::shorten;
use super::{DoorError, InviteWish, Order, Request};
use crate::clock;
use crate::invite::{AdmissionError, Invite, InviteId};
use crate::keyfile::Secret;

pub(super) async fn invite(asker: &Asker, request: v1::InviteRequest) -> Result<v1::InviteResponse, Error> {
    let wish = wish_of(&request)?;
    let addrs = request.addresses.iter().map(|addr| {
        addr.parse()
            .map_err(|why| invalid(format!("{}: {why}", shorten(addr))).with_hint("p2pctl invite --address HOST:PORT"))
    });
    let addrs: Vec<Addr> = addrs.collect::<Result<_, _>>()?;
    if addrs.len() > ADDRS_PER_RECORD_MAX {
        return Err(invalid(format!("{} addresses are over the limit of {ADDRS_PER_RECORD_MAX}", addrs.len())));
    }
    let invited = asker.order(|reply| Order::Invite { wish, addrs, reply }).await?.map_err(told)?;
    Ok(v1::InviteResponse {
        ticket: invited.ticket.reveal().to_owned(),
        id: invited.id.map(|id| id.to_string()).unwrap_or_default(),
        expires_us: invited.expires_s.map_or(0, seconds_us),
        addresses: invited.addrs.iter().map(ToString::to_string).collect(),
    })
}

fn wish_of(request: &v1::InviteRequest) -> Result<InviteWish, Error> {
    if request.offline {
        let is_plain = request.expires_ms == 0 && request.uses == 0;
        let why = "an offline ticket holds the secret itself: it cannot end, and nobody counts its uses";
        return if is_plain { Ok(InviteWish::Offline) } else { Err(invalid(why)) };
    }
    let time = if request.expires_ms == 0 { DAY } else { Duration::from_millis(request.expires_ms) };
    if !(SECOND..=YEAR).contains(&time) {
        return Err(invalid(format!("an invite lasts from 1s to 365d, not {}", humantime::format_duration(time))));
    }
    let uses_max = request.uses.max(1);
    if uses_max > USES_MAX {
        return Err(invalid(format!("{uses_max} uses are over the limit of {USES_MAX}")));
    }
    Ok(InviteWish::Invite { time, uses_max })
}

pub(super) async fn list(asker: &Asker) -> Result<v1::InvitesResponse, Error> {
    let now_s = clock::unix().as_secs();
    let invites = asker.ask_store(Request::Invites).await?;
    Ok(v1::InvitesResponse { invites: invites.iter().map(|invite| shown(invite, now_s)).collect() })
}

fn shown(invite: &Invite, now_s: u64) -> v1::Invite {
    v1::Invite {
        id: invite.id.to_string(),
        made_us: seconds_us(invite.made_s),
        expires_us: seconds_us(invite.expires_s),
        uses: invite.uses,
        uses_max: invite.uses_max,
        revoked: invite.is_revoked,
        open: invite.check(now_s).is_ok(),
    }
}

pub(super) async fn revoke(asker: &Asker, id: &str) -> Result<(), Error> {
    let unknown = || told(DoorError::Unknown(shorten(id)));
    let id: InviteId = id.parse().map_err(|_| unknown())?;
    asker.order(|reply| Order::RevokeInvite(id, reply)).await?.map_err(told)
}

pub(super) async fn join(asker: &Asker, request: v1::JoinRequest) -> Result<v1::JoinResponse, Error> {
    let ticket = Secret::new(&request.ticket);
    let joined = asker.order(|reply| Order::Join(ticket, reply)).await?.map_err(told)?;
    Ok(v1::JoinResponse {
        network: joined.network,
        issuer: joined.issuer.to_string(),
        repeated: joined.is_repeated,
        offline: joined.is_offline,
    })
}

fn told(error: DoorError) -> Error {
    let why = error.to_string();
    let (code, hint) = match error {
        DoorError::Stopping => return stopping(),
        DoorError::NotKept(_) => return store_failed(why),
        DoorError::Ticket(_) => {
            (Code::TicketInvalid, "copy it again as it was printed; spaces and line breaks do no harm")
        }
        DoorError::Expired(_) | DoorError::Admission(AdmissionError::Refused(_)) => {
            (Code::TicketRefused, "ask for a new one: p2pctl invite")
        }
        DoorError::Admission(AdmissionError::WrongIssuer { .. }) => {
            (Code::Untrusted, "nothing was told to it; ask who made the ticket for a new one: p2pctl invite")
        }
        DoorError::Admission(AdmissionError::Unreachable(_)) => (
            Code::PeerOffline,
            "who made the ticket must run and be reachable: try again, or ask for one with another address",
        ),
        DoorError::Elsewhere { .. } => {
            (Code::TicketRefused, "run another daemon for it: p2pd --data-dir DIR --join TICKET")
        }
        DoorError::Configured(_) => (Code::TicketRefused, "take that out of the configuration and start again"),
        DoorError::Open => (Code::InvalidArgument, "tell them your address: p2pd -p HOST:PORT with open_network"),
        DoorError::NoAddress => (Code::InvalidArgument, "say it: p2pctl invite --address HOST:PORT"),
        DoorError::TooMany(_) => (Code::Busy, "take some back: p2pctl invite --list, p2pctl invite --revoke ID"),
        DoorError::Unknown(_) => (Code::NotFound, "see which are: p2pctl invite --list"),
    };
    Error::new(code, why).with_hint(hint)
}

fn seconds_us(seconds: u64) -> i64 {
    time_us(seconds.saturating_mul(1_000))
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// More is no invitation but a key that everybody has.
const USES_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::invite::{Refusal, Ties};

    #[test]
    fn an_invite_lasts_a_day_for_one_where_nothing_is_said_and_has_limits() {
        let request = |expires_ms, uses, offline| {
            wish_of(&v1::InviteRequest { expires_ms, uses, offline, ..v1::InviteRequest::default() })
        };
        assert_eq!(request(0, 0, false), Ok(InviteWish::Invite { time: DAY, uses_max: 1 }));
        assert_eq!(request(1_000, 1_000, false), Ok(InviteWish::Invite { time: SECOND, uses_max: 1_000 }));
        assert_eq!(request(0, 0, true), Ok(InviteWish::Offline));
        let why = |expires_ms, uses, offline| request(expires_ms, uses, offline).unwrap_err().message;
        assert_eq!(why(999, 0, false), "an invite lasts from 1s to 365d, not 999ms");
        assert!(why(u64::MAX, 0, false).starts_with("an invite lasts from 1s to 365d, not "));
        assert_eq!(why(0, 1_001, false), "1001 uses are over the limit of 1000");
        assert!(why(0, 1, true).starts_with("an offline ticket holds the secret itself"));
    }

    #[test]
    fn every_reason_not_to_be_let_in_has_its_code_and_what_to_do() {
        let ties = Ties { peers: 1, posts: 20 };
        let elsewhere = DoorError::Elsewhere { ours: "a".into(), theirs: "b".into(), ties };
        let unreachable = AdmissionError::Unreachable("nobody".into());
        for (error, code, message) in [
            (
                DoorError::Admission(AdmissionError::Refused(Refusal::Used)),
                Code::TicketRefused,
                "the ticket is already used",
            ),
            (DoorError::Expired("then".into()), Code::TicketRefused, "the ticket expired at then"),
            (
                elsewhere,
                Code::TicketRefused,
                "this daemon is in network a, with 1 peer and 20 posts of others, and the ticket is for network b",
            ),
            (DoorError::Admission(unreachable), Code::PeerOffline, "nobody"),
            (DoorError::Open, Code::InvalidArgument, "open_network is set, so nobody needs a ticket"),
            (DoorError::NoAddress, Code::InvalidArgument, "it is not known where others reach this daemon"),
            (DoorError::TooMany(100), Code::Busy, "100 invites are open, the limit is 100"),
            (DoorError::NotKept("disk full".into()), Code::StoreFailed, "disk full"),
            (DoorError::Stopping, Code::Stopping, "the daemon is stopping"),
        ] {
            let told = told(error);
            assert_eq!((told.code, told.message.as_str()), (code, message));
            assert!(!told.hint.is_empty(), "{message}");
        }
    }
}
