//! Tickets, invites, and what became of a join.

use std::io::{self, Write};

use p2p_proto::v1::{Invite, InviteResponse, InvitesResponse, JoinResponse};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::document::{Document, Fields};
use super::names::short;
use super::words::{counted, grouped};
use super::{Shape, Style, escape, table, time};

/// Writes a ticket: one line.
pub(crate) fn render_invited(invited: &InviteResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        Fields::document("invited")
            .add("ticket", invited.ticket.as_str())
            .add("id", Document::filled(&invited.id))
            .add("expires", Document::time(invited.expires_us))
            .add("addresses", Document::texts(&invited.addresses))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => writeln!(out, "{}", escape::line(&invited.ticket)),
    }
}

/// A ticket as a picture for a camera, light on dark; none where it does not fit on the screen.
pub(crate) fn picture(ticket: &str, columns: usize) -> Option<String> {
    let code = QrCode::with_error_correction_level(ticket, EcLevel::L).ok()?;
    if code.width() + 2 * QUIET_ZONE > columns {
        return None;
    }
    // Terminals are dark, and cameras want dark on light.
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// Writes the invites that are remembered.
pub(crate) fn render_invites(invites: &InvitesResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        let invites = invites.invites.iter().map(|invite| {
            Fields::new()
                .add("id", invite.id.as_str())
                .add("made", Document::time(invite.made_us))
                .add("expires", Document::time(invite.expires_us))
                .add("uses", u64::from(invite.uses))
                .add("uses_max", u64::from(invite.uses_max))
                .add("revoked", invite.revoked)
                .add("open", invite.open)
                .done()
        });
        Fields::document("invites").add("invites", Document::List(invites.collect())).done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            let head = ["ID", "STATE", "USED", "MADE", "EXPIRES"].map(str::to_owned);
            let when = |us| time::date_and_clock(us, &style.zone);
            let rows = invites.invites.iter().map(|invite| {
                let used = format!("{} of {}", invite.uses, invite.uses_max);
                [
                    escape::line(&invite.id).into_owned(),
                    state(invite).to_owned(),
                    used,
                    when(invite.made_us),
                    when(invite.expires_us),
                ]
            });
            table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)
        }
    }
}

fn state(invite: &Invite) -> &'static str {
    if invite.open {
        "open"
    } else if invite.revoked {
        "revoked"
    } else if invite.uses >= invite.uses_max {
        "used"
    } else {
        "expired"
    }
}

/// What a join led to.
pub(crate) struct Arrival<'a> {
    pub(crate) joined: &'a JoinResponse,
    /// As it calls itself.
    pub(crate) issuer_name: &'a str,
    /// The same for people, with its key.
    pub(crate) issuer_shown: &'a str,
    pub(crate) posts: u64,
    pub(crate) peers_up: u32,
}

/// Writes who was joined, and how much history came.
pub(crate) fn render_joined(arrival: &Arrival<'_>, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let Arrival { joined, posts, peers_up, .. } = arrival;
    let document = || {
        Fields::document("joined")
            .add("network", joined.network.as_str())
            .add("issuer", joined.issuer.as_str())
            .add("issuer_name", Document::filled(arrival.issuer_name))
            .add("repeated", joined.repeated)
            .add("posts", *posts)
            .add("peers_up", u64::from(*peers_up))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            let did = if joined.repeated { "already in" } else { "joined" };
            let (network, posts) =
                (short(&joined.network), format!("{} {}", grouped(*posts), if *posts == 1 { "post" } else { "posts" }));
            let peers = counted(u64::from(*peers_up), "peer");
            writeln!(out, "{did} network {network} of {}: {peers} up, {posts} of others here", arrival.issuer_shown)
        }
    }
}

/// Cameras need so much light around the code, in modules of it.
const QUIET_ZONE: usize = 4;
