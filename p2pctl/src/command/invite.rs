//! `invite`: tickets for others.

use std::io::Write;

use p2p_proto::v1::{InviteRequest, InviteResponse, InvitesRequest, RevokeInviteRequest};

use super::Session;
use crate::args::Invite;
use crate::exit::{Outcome, Problem};
use crate::output::invites::{picture, render_invited, render_invites};
use crate::output::rest::render_done;
use crate::output::words::counted;
use crate::output::{Format, time};

pub(crate) async fn run(args: Invite, session: &mut Session) -> Outcome {
    if args.list {
        return list(session).await;
    }
    if let Some(id) = args.revoke {
        return revoke(id, session).await;
    }
    if args.expires.is_some_and(|span| span.is_zero()) {
        return Err(Problem::usage("--expires 0s: such a ticket lets nobody in").into());
    }
    let uses = args.uses.unwrap_or(0);
    let request = InviteRequest {
        expires_ms: args.expires.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)),
        uses,
        offline: args.offline,
        addresses: args.address,
    };
    let client = session.client().await?;
    let invited = session.answer("invite", client.mesh().invite(request)).await?;
    // The line to be copied comes last, where it is seen.
    paint(&invited.ticket, session);
    session.show(|style, out| render_invited(&invited, style, out))?;
    explain(&invited, uses.max(1), session);
    Ok(())
}

/// A picture only where somebody can hold a camera before it.
fn paint(ticket: &str, session: &mut Session) {
    let is_seen = session.fancy && session.io.terminals.stdout && session.io.terminals.stderr;
    let is_for_people = matches!(session.style.format, Format::Text | Format::Wide);
    let Some(screen) = (session.io.screen)().filter(|_| is_seen && is_for_people && !session.is_quiet()) else {
        return;
    };
    // Half a picture is none; below it stand the ticket and what is to be known of it.
    let below = ticket.len().div_ceil(screen.columns) + NOTES_ROWS;
    match picture(ticket, screen.columns) {
        Some(picture) if picture.lines().count() + below <= screen.rows => {
            let _ = writeln!(session.io.stderr, "{picture}");
        }
        Some(_) | None => session.note("in a larger terminal there is a QR code of it too"),
    }
}

/// What is to be known of a ticket, so that nobody finds out too late.
fn explain(invited: &InviteResponse, uses: u32, session: &mut Session) {
    if invited.id.is_empty() {
        session.warn("this ticket holds the network's secret itself: whoever sees it can get in, for ever; nothing takes it back");
    } else {
        let until = time::date_and_clock(invited.expires_us, &session.style.zone);
        let uses = counted(u64::from(uses), "peer");
        session.note(&format!(
            "lets in {uses} until {until}; there: p2pctl join TICKET; take it back: p2pctl invite --revoke {}",
            invited.id
        ));
    }
    let addresses = invited.addresses.join(", ");
    if invited.addresses.iter().all(|address| is_loopback(address)) {
        session.warn(&format!(
            "{addresses} is for this machine only: others need p2pd -l 0.0.0.0:PORT here, or --address HOST:PORT"
        ));
    } else {
        session.note(&format!("says that this daemon is at {addresses}"));
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn list(session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let invites = session.answer("invite", client.mesh().invites(InvitesRequest {})).await?;
    session.show(|style, out| render_invites(&invites, style, out))?;
    if invites.invites.is_empty() {
        session.note("nobody was invited from here");
    }
    Ok(())
}

async fn revoke(id: String, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let request = RevokeInviteRequest { id: id.clone() };
    session.answer("invite", client.mesh().revoke_invite(request)).await?;
    session.show(|style, out| render_done("invite_revoked", &format!("took back {id}"), style, out))
}

/// What stands below a ticket, with the next prompt.
const NOTES_ROWS: usize = 5;
