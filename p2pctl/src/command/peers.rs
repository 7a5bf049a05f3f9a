//! `peers`: who is there, and changes to the book.

use p2p_proto::error::{Code, Error};
use p2p_proto::v1::{
    AddPeerRequest, ForgetPeerRequest, Peer, PeerState, PeersRequest, PeersResponse, ReconnectRequest,
};

use super::{Session, status, who};
use crate::args::{Peers, PeersCommand};
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::peers::{render_peer, render_peers};
use crate::output::rest::render_done;

pub(crate) async fn run(args: Peers, session: &mut Session) -> Outcome {
    match args.command {
        Some(PeersCommand::Show { peer }) => show(&peer, session).await,
        Some(PeersCommand::Add { address }) => add(address, session).await,
        Some(PeersCommand::Forget { peer }) => forget(&peer, session).await,
        Some(PeersCommand::Reconnect { peer }) => reconnect(peer.as_deref(), session).await,
        None if args.watch => watch(args.all, session).await,
        None => {
            let client = session.client().await?;
            let answer = session.answer("peers", client.mesh().peers(PeersRequest {})).await?;
            list(answer, args.all, session)
        }
    }
}

fn list(answer: PeersResponse, all: bool, session: &mut Session) -> Outcome {
    let known = answer.peers.len();
    let peers: Vec<Peer> = answer.peers.into_iter().filter(|peer| all || peer.state() != PeerState::Down).collect();
    let hidden = known - peers.len();
    session.show(|style, out| render_peers(&PeersResponse { peers }, style, out))?;
    if hidden > 0 {
        session.note(&format!("{hidden} more are down: p2pctl peers -a"));
    }
    Ok(())
}

async fn watch(all: bool, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let mut stream = session.answer("peers", client.mesh().watch_peers(PeersRequest {})).await?;
    loop {
        let answer = stream.message().await.map_err(|status| Problem::of_status("peers", status))?;
        let Some(answer) = answer else { return Err(ended("peers")) };
        status::clear(session)?;
        list(answer, all, session)?;
    }
}

/// The daemon ended a stream that has no end.
pub(crate) fn ended(what: &str) -> Stop {
    Problem::of(what, Error::new(Code::Unreachable, "the daemon stopped")).into()
}

async fn show(written: &str, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let known = session.answer("peers", client.mesh().peers(PeersRequest {})).await?.peers;
    let peer = who::find(&known, written)?;
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

async fn reconnect(written: Option<&str>, session: &mut Session) -> Outcome {
    let id = match written {
        Some(written) => who::resolve(written, session).await?,
        None => String::new(),
    };
    let client = session.client().await?;
    let answer = session.answer("peers reconnect", client.mesh().reconnect(ReconnectRequest { id })).await?;
    session.show(|style, out| render_done("reconnect", &format!("dialing {}", answer.dials), style, out))
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
