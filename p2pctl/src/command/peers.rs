//! `peers`: who is there, and changes to the book.

use std::io::Write;

use p2p_proto::client::Client;
use p2p_proto::v1::{
    AddPeerRequest, ForgetPeerRequest, Peer, PeerState, PeersRequest, PeersResponse, ReconnectRequest,
    UpdatePeerRequest,
};

use super::{Session, live, who};
use crate::args::{Peers, PeersCommand};
use crate::connect::without_number;
use crate::exit::{Exit, Outcome, Problem};
use crate::output::names::short;
use crate::output::peers::{names_of, namesakes, owner_note, render_peer, render_peers, show as show_name};
use crate::output::rest::{render_done, render_reconnect};
use crate::output::{Format, Style};

pub(crate) async fn run(args: Peers, session: &mut Session) -> Outcome {
    match args.command {
        Some(PeersCommand::Show { peer }) => show(&peer, session).await,
        Some(PeersCommand::Add { address }) => add(address, session).await,
        Some(PeersCommand::Forget { peer }) => forget(&peer, session).await,
        Some(PeersCommand::Name { peer, name, .. }) => call(&peer, name.unwrap_or_default(), session).await,
        Some(PeersCommand::Block { peer }) => block(&peer, true, session).await,
        Some(PeersCommand::Unblock { peer }) => block(&peer, false, session).await,
        Some(PeersCommand::Reconnect { peer }) => reconnect(peer.as_deref(), session).await,
        None if args.watch => watch(args.all, session).await,
        None => {
            let client = session.client().await?;
            let answer = session.answer("peers", client.mesh().peers(PeersRequest {})).await?;
            list(answer, args.all, false, session)
        }
    }
}

async fn watch(all: bool, session: &mut Session) -> Outcome {
    let open = async |client: Client| client.mesh().watch_peers(PeersRequest {}).await;
    live::follow("peers", session, open, |answer, session| list(answer, all, true, session)).await
}

/// Those that are linked first, then by name. What a person may miss in the table is said below it.
fn list(answer: PeersResponse, all: bool, again: bool, session: &mut Session) -> Outcome {
    let known = answer.peers.len();
    let called: Vec<Peer> = answer.peers.iter().filter(|peer| !peer.petname.is_empty()).cloned().collect();
    let mut peers: Vec<Peer> = answer.peers.into_iter().filter(|peer| all || peer.state() != PeerState::Down).collect();
    peers.sort_by(|a, b| order(a).cmp(&order(b)));
    let notes = notes(&peers, &called, known - peers.len(), session.style.format);
    let answer = PeersResponse { peers };
    let render = |style: &Style, out: &mut dyn Write| render_peers(&answer, style, out);
    if again {
        session.redraw(notes.len(), render)?
    } else {
        session.show(render)?
    }
    notes.iter().for_each(|note| session.note(note));
    Ok(())
}

fn order(peer: &Peer) -> (u8, &str, &str, &str) {
    let rank = match peer.state() {
        PeerState::Up => 0,
        PeerState::Suspect => 1,
        PeerState::Dialing | PeerState::Waiting => 2,
        PeerState::Down | PeerState::Unspecified => 3,
    };
    let name = if peer.petname.is_empty() { &peer.name } else { &peer.petname };
    (rank, name, &peer.id, &peer.address)
}

/// Why some of those that should be linked are not, who takes the petname of one of `called`, how many are left out, or
/// how to get the first.
fn notes(shown: &[Peer], called: &[Peer], hidden: usize, format: Format) -> Vec<String> {
    if shown.is_empty() && hidden == 0 {
        return vec!["no peer is known yet; dial one with: p2pctl peers add HOST:PORT".to_owned()];
    }
    let names = names_of(shown);
    let is_missed =
        |peer: &&Peer| matches!(peer.state(), PeerState::Dialing | PeerState::Waiting) && !peer.last_error.is_empty();
    let reason = |peer: &Peer| {
        let who = if peer.id.is_empty() { peer.address.clone() } else { show_name(peer, &names) };
        format!("{who}: {}", without_number(&peer.last_error))
    };
    // The wide table has a column for them.
    let reasons_max = if format == Format::Text { REASONS_MAX } else { 0 };
    let mut notes: Vec<String> = shown.iter().filter(is_missed).take(reasons_max).map(reason).collect();
    let late = shown.iter().filter_map(|peer| Some(format!("{}: {}", show_name(peer, &names), owner_note(peer)?)));
    notes.extend(late.take(reasons_max));
    let called =
        called.iter().flat_map(|peer| namesakes(shown, &peer.id, &peer.petname).map(move |other| (peer, other)));
    let unlike = called.map(|(peer, other)| {
        format!("{}: not whom you call {} ({})", show_name(other, &names), peer.petname, short(&peer.id))
    });
    notes.extend(unlike.take(reasons_max));
    if hidden > 0 {
        let are = if hidden == 1 { "is" } else { "are" };
        notes.push(format!("{hidden} more {are} down: p2pctl peers -a"));
    }
    notes
}

async fn show(written: &str, session: &mut Session) -> Outcome {
    let known = who::known(session).await?;
    let (own, others) = known.split_last().expect("the daemon itself is the last one");
    let peer = who::find(others, written).map_err(|problem| match who::find(std::slice::from_ref(own), written) {
        Ok(_) => problem.with_hint("that is this daemon itself: p2pctl status"),
        Err(_) => problem,
    })?;
    session.show(|style, out| render_peer(peer, style, out))
}

async fn add(address: String, session: &mut Session) -> Outcome {
    check_address(&address)?;
    let client = session.client().await?;
    let request = AddPeerRequest { address: address.clone() };
    session.answer("peers add", client.mesh().add_peer(request)).await?;
    session.show(|style, out| render_done("peer_added", &format!("dialing {address}"), style, out))
}

async fn forget(written: &str, session: &mut Session) -> Outcome {
    // An address has a colon, which no id has and which a name shows as a number.
    let peer = match check_address(written) {
        Ok(()) => written.to_owned(),
        Err(_) => who::resolve(written, session).await?,
    };
    let client = session.client().await?;
    session.answer("peers forget", client.mesh().forget_peer(ForgetPeerRequest { peer })).await?;
    session.show(|style, out| render_done("peer_forgotten", &format!("forgot {written}"), style, out))
}

async fn call(written: &str, name: String, session: &mut Session) -> Outcome {
    let id = who::resolve(written, session).await?;
    let text = match name.as_str() {
        "" => format!("{written} has no petname"),
        name => format!("{written} is called {}", name.trim()),
    };
    let known = who::known(session).await?;
    let petname = Some(name.clone());
    update(UpdatePeerRequest { id: id.clone(), petname, blocked: None }, "peers name", session).await?;
    session.show(|style, out| render_done("peer_named", &text, style, out))?;
    // Nothing to refuse: else whoever takes the name of another could keep us from calling the right one so.
    for other in namesakes(&known, &id, &name) {
        let other = show_name(other, &names_of(&known));
        session.warn(&format!("{other} calls itself so too: {} alone is {} now", name.trim(), short(&id)));
    }
    Ok(())
}

async fn block(written: &str, is_blocked: bool, session: &mut Session) -> Outcome {
    let id = who::resolve(written, session).await?;
    let what = if is_blocked { "peers block" } else { "peers unblock" };
    update(UpdatePeerRequest { id, petname: None, blocked: Some(is_blocked) }, what, session).await?;
    session.show(|style, out| match is_blocked {
        true => render_done("peer_blocked", &format!("blocked {written}"), style, out),
        false => render_done("peer_unblocked", &format!("unblocked {written}"), style, out),
    })
}

async fn update(request: UpdatePeerRequest, what: &str, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    session.answer(what, client.mesh().update_peer(request)).await?;
    Ok(())
}

async fn reconnect(written: Option<&str>, session: &mut Session) -> Outcome {
    let id = match written {
        Some(written) => who::resolve(written, session).await?,
        None => String::new(),
    };
    let client = session.client().await?;
    let answer = session.answer("peers reconnect", client.mesh().reconnect(ReconnectRequest { id })).await?;
    session.show(|style, out| render_reconnect(answer.dials, style, out))
}

/// `HOST:PORT`, so far as it can be told without asking for the name.
fn check_address(address: &str) -> Result<(), Problem> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Ok(());
    }
    let problem = Problem::new(Exit::Usage, "USAGE", format!("address {address:?} is not HOST:PORT"));
    Err(problem.with_hint("as in: p2pctl peers add 192.0.2.7:8080"))
}

/// Reasons below the table.
const REASONS_MAX: usize = 3;
