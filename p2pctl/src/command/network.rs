//! `network`: its keys, who has them, and another secret.

use p2p_proto::v1::{
    InvitesRequest, NetworkMemberState, NetworkRequest, NetworkResponse, RotateRequest, RotateResponse,
};

use super::{Session, who};
use crate::args::{Network, NetworkCommand, Rotate};
use crate::exit::Outcome;
use crate::output::network::{render_network, render_rotated};
use crate::output::time;
use crate::output::words::{are, counted};

pub(crate) async fn run(args: Network, session: &mut Session) -> Outcome {
    match args.command {
        Some(NetworkCommand::Show) | None => show(session).await,
        Some(NetworkCommand::Rotate(args)) => rotate(args, session).await,
    }
}

async fn show(session: &mut Session) -> Outcome {
    let network = fetch("network", session).await?;
    session.show(|style, out| render_network(&network, style, out))?;
    if network.open {
        session.note("nobody is asked for a secret here: whoever reaches this daemon may join");
    } else if network.shut_out {
        session.warn("this daemon was shut out: only a member can let it in, with network rotate --readmit PEER");
    } else if network.left_out {
        session.warn("this daemon was not given the new secret: join again by a ticket of a member (p2pctl invite)");
    } else if network.rotation.is_none() {
        session.note("the secret was never changed; change it: p2pctl network rotate");
    }
    Ok(())
}

async fn fetch(what: &str, session: &mut Session) -> Outcome<NetworkResponse> {
    let client = session.client().await?;
    session.answer(what, client.mesh().network(NetworkRequest {})).await
}

async fn rotate(args: Rotate, session: &mut Session) -> Outcome {
    let Rotate { without, readmit, grace } = args;
    let request = RotateRequest {
        without: who::resolve_all(&without, session).await?,
        readmit: who::resolve_all(&readmit, session).await?,
        grace_ms: grace.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
    };
    let client = session.client().await?;
    let rotated = session.answer("network rotate", client.mesh().rotate(request)).await?;
    session.show(|style, out| render_rotated(&rotated, style, out))?;
    explain(&rotated, session).await;
    if !readmit.is_empty() {
        session.note("who is a member again comes back with its next dial; at once, there: p2pctl peers reconnect");
    }
    if !without.is_empty() {
        warn_of_tickets(session).await;
    }
    Ok(())
}

/// Whoever is shut out can come back as somebody else, as long as a ticket is open that it may have seen.
async fn warn_of_tickets(session: &mut Session) {
    let Ok(client) = session.client().await else { return };
    let Ok(invites) = session.answer("invite", client.mesh().invites(InvitesRequest {})).await else { return };
    let open = invites.invites.iter().filter(|invite| invite.open).count() as u64;
    if open > 0 {
        let (tickets, are) = (counted(open, "ticket"), are(open));
        session.warn(&format!("{tickets} of this daemon {are} open to whoever has seen them: p2pctl invite --list"));
    }
}

/// What happens next. It is done already, so no answer to this is missed.
async fn explain(rotated: &RotateResponse, session: &mut Session) {
    let until = time::date_and_clock(rotated.until_us, &session.style.zone);
    match rotated.until_us {
        0 => session.note("the old secret is not accepted any more; who is away gets the new one on coming back"),
        _ => session.note(&format!("the old secret is accepted until {until}; who is away gets the new one later too")),
    }
    if let Ok(network) = fetch("network", session).await {
        let members = network.rotation.iter().flat_map(|rotation| &rotation.members);
        let away = members.filter(|member| member.state() == NetworkMemberState::Away).count() as u64;
        if away > 0 {
            session.note(&format!("{} {} away: p2pctl network", counted(away, "member"), are(away)));
        }
    }
}
