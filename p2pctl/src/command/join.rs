//! `join`: into the network of a ticket, until what was said there is here.

use p2p_proto::client::Client;
use p2p_proto::error::Code;
use p2p_proto::v1::{JoinRequest, JoinResponse, PeersRequest, SyncStateRequest, SyncStateResponse};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::{Session, fetch_status, live, span};
use crate::exit::{Exit, Outcome, Problem};
use crate::output::invites::{Arrival, render_joined};
use crate::output::names::short;
use crate::output::peers::{names_of, show};
use crate::progress::Missing;

pub(crate) async fn run(words: Vec<String>, session: &mut Session) -> Outcome {
    let ticket = if words.is_empty() { read(session).await? } else { words.join(" ") };
    if ticket.trim().chars().any(char::is_whitespace) {
        session.note("the white space in the ticket was left out");
    }
    let end = Instant::now() + session.timeout;
    let client = session.client().await?;
    let joined = session.answer("join", client.mesh().join(JoinRequest { ticket })).await?;
    let state = arrive(&joined, end, session).await?;
    tell(&joined, &state, session).await
}

async fn read(session: &mut Session) -> Outcome<String> {
    if session.io.terminals.stdin {
        session.note("paste the ticket, then Ctrl-D");
    }
    let mut text = String::new();
    let read = (&mut session.io.stdin).take(TICKET_BYTES_MAX).read_to_string(&mut text).await;
    read.map_err(|error| Problem::new(Exit::Failed, Code::Failed.name(), format!("join: reading stdin: {error}")))?;
    Ok(text)
}

/// Waits until the issuer is linked and nothing is missing.
async fn arrive(joined: &JoinResponse, end: Instant, session: &mut Session) -> Outcome<SyncStateResponse> {
    let own = fetch_status("join", session).await?.id;
    let bar = Missing::new(session.is_bar_welcome());
    let mut missing = "the daemon did not say how it is".to_owned();
    let open = async |client: Client| client.mesh().watch_sync_state(SyncStateRequest::default()).await;
    let following = live::until("join", session, open, |state| {
        let state = match state {
            Ok(state) => state,
            Err(why) => {
                missing = why;
                return None;
            }
        };
        missing = what_is_missing(joined, &own, &state);
        bar.show(state.missing_posts, &missing);
        missing.is_empty().then_some(state)
    });
    let outcome = tokio::time::timeout_at(end, following).await;
    bar.finish();
    outcome.unwrap_or_else(|_| {
        let (network, timeout) = (short(&joined.network), span(session.timeout));
        let why = format!("join: this daemon is in network {network} now, but after {timeout} {missing}");
        Err(Problem::timeout(why).with_hint("it goes on by itself; see how it is: p2pctl peers").into())
    })
}

fn what_is_missing(joined: &JoinResponse, own: &str, state: &SyncStateResponse) -> String {
    let is_linked = state.peers.iter().any(|peer| peer.id == joined.issuer || joined.offline);
    if !is_linked && joined.issuer != own {
        return format!("{}… is not linked", short(&joined.issuer));
    }
    match state.missing_posts {
        0 if state.synced || joined.issuer == own => String::new(),
        0 => "not everybody was compared with".to_owned(),
        1 => "1 post is missing".to_owned(),
        many => format!("{many} posts are missing"),
    }
}

async fn tell(joined: &JoinResponse, state: &SyncStateResponse, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let peers = session.answer("join", client.mesh().peers(PeersRequest {})).await?.peers;
    let issuer = peers.iter().find(|peer| peer.id == joined.issuer);
    let shown = issuer.map_or_else(|| short(&joined.issuer), |issuer| show(issuer, &names_of(&peers)));
    let arrival = Arrival {
        joined,
        issuer_name: issuer.map_or("", |issuer| &issuer.name),
        issuer_shown: &shown,
        posts: state.feeds.iter().filter(|feed| !feed.own).map(|feed| feed.have).sum(),
        peers_up: u32::try_from(state.peers.len()).unwrap_or(u32::MAX),
    };
    session.show(|style, out| render_joined(&arrival, style, out))
}

/// The longest ticket has some 2,200 characters; white space may be among them.
const TICKET_BYTES_MAX: u64 = 16 << 10;
