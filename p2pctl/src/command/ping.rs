//! `ping`: heartbeats over the links there are.

use p2p_proto::client::Client;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1::{Peer, PeerState, PeersRequest, PingRequest};

use super::{Session, who};
use crate::args;
use crate::exit::{Exit, Outcome, Problem};
use crate::output::peers::{names_of, show};
use crate::output::rest::{Pong, render_pong, render_pongs};

/// One peer and its answers.
struct Target {
    id: String,
    name: String,
    rtts_us: Vec<u32>,
}

pub(crate) async fn run(args: args::Ping, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    let mut targets = targets(&args, &client, session).await?;
    for n in 1..=args.count {
        if n > 1 {
            tokio::time::sleep(args.interval).await;
        }
        for target in &mut targets {
            let rtt_us = ping(target, args.all, &client, session).await?;
            target.rtts_us.extend(rtt_us);
            let pong = Pong { name: &target.name, id: &target.id, n, rtt_us };
            session.show(|style, out| render_pong(&pong, style, out))?;
        }
    }
    for target in &targets {
        let pong = Pong { name: &target.name, id: &target.id, n: args.count, rtt_us: None };
        session.show(|style, out| render_pongs(&pong, &target.rtts_us, style, out))?;
    }
    let silent: Vec<&str> =
        targets.iter().filter(|target| target.rtts_us.is_empty()).map(|target| &*target.name).collect();
    if silent.is_empty() {
        Ok(())
    } else {
        Err(Problem::timeout(format!("ping: no answer from {}", silent.join(", "))).into())
    }
}

async fn targets(args: &args::Ping, client: &Client, session: &mut Session) -> Outcome<Vec<Target>> {
    let known = session.answer("ping", client.mesh().peers(PeersRequest {})).await?.peers;
    let names = names_of(&known);
    let target = |peer: &Peer| Target { id: peer.id.clone(), name: show(peer, &names), rtts_us: Vec::new() };
    if let Some(written) = &args.peer {
        return Ok(vec![target(who::find(&known, written)?)]);
    }
    let linked = |peer: &&Peer| matches!(peer.state(), PeerState::Up | PeerState::Suspect);
    let targets: Vec<Target> = known.iter().filter(linked).map(target).collect();
    if targets.is_empty() {
        let problem = Problem::new(Exit::NotFound, Code::NotFound.name(), "ping: no peer is linked");
        return Err(problem.with_hint("see who is there: p2pctl peers -a").into());
    }
    Ok(targets)
}

/// The round-trip time; none where no answer came. A peer that is not linked is an error, unless it is one of many.
async fn ping(target: &Target, many: bool, client: &Client, session: &Session) -> Outcome<Option<u32>> {
    let timeout_ms = u32::try_from(session.timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    let request = PingRequest { id: target.id.clone(), timeout_ms };
    // The daemon keeps the time; ours is for a daemon that does not answer.
    let wait = session.timeout.saturating_mul(2);
    let mut mesh = client.mesh();
    let status = match tokio::time::timeout(wait, mesh.ping(request)).await {
        Ok(Ok(response)) => return Ok(Some(response.into_inner().rtt_us)),
        Ok(Err(status)) => status,
        Err(_) => return Err(Problem::timeout("ping: the daemon does not answer").into()),
    };
    match Error::from(status.clone()).code {
        Code::Timeout => Ok(None),
        Code::PeerOffline if many => Ok(None),
        _ => Err(Problem::of_status(&format!("ping {}", target.name), status).into()),
    }
}
