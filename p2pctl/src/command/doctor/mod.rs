//! `doctor`: looks for the usual mistakes, and says what to type.

mod facts;
mod machine;
mod peers;
mod places;

use p2p_proto::v1::{ConfigRequest, MetricsRequest, NetworkRequest, PeersRequest};

use super::{Session, fetch_status};
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::doctor::{Check, Verdict, render_doctor};
use facts::Facts;

pub(crate) async fn run(session: &mut Session) -> Outcome {
    let mut checks = match fetch(session).await {
        Ok(facts) => examine(&facts),
        Err(Stop::Problem(problem)) => vec![no_daemon(&problem)],
        Err(said) => return Err(said),
    };
    checks.push(machine::terminal(session.is_utf8));
    checks.push(machine::time_zone(&session.style.zone));
    session.show(|style, out| render_doctor(&checks, style, out))?;
    let is_sick = checks.iter().any(|check| check.verdict == Verdict::Fail);
    if is_sick { Err(Stop::Said(Exit::Failed)) } else { Ok(()) }
}

/// In the order in which a person would look: whatever is above may be the reason of what is below.
const CHECKS: &[fn(&Facts) -> Check] = &[
    machine::daemon,
    machine::version,
    machine::config,
    machine::alarms,
    machine::identity,
    machine::disk_space,
    machine::disk_speed,
    machine::descriptors,
    machine::retention,
    places::listen,
    places::advertise,
    places::open_network,
    places::metrics,
    places::lan,
    peers::configured,
    peers::linked,
    peers::secret,
    peers::names,
    peers::refused,
    peers::silent,
    peers::blocked,
    peers::versions,
    peers::clocks,
    peers::unacked,
    peers::missing,
];

fn examine(facts: &Facts) -> Vec<Check> {
    CHECKS.iter().map(|check| check(facts)).collect()
}

fn no_daemon(problem: &Problem) -> Check {
    Check::fail("daemon", &problem.message, &problem.hint)
}

async fn fetch(session: &mut Session) -> Outcome<Facts> {
    let status = fetch_status("doctor", session).await?;
    let client = session.client().await?;
    // A daemon that still opens its store has no answers to the rest.
    let mut facts = Facts { status, ..Facts::default() };
    if facts.is_running() {
        facts.peers = session.answer("doctor", client.mesh().peers(PeersRequest {})).await?.peers;
        facts.config = session.answer("doctor", client.daemon().config(ConfigRequest { compare: true })).await?;
        let metrics = session.answer("doctor", client.daemon().metrics(MetricsRequest {})).await?;
        facts.figures = facts::figures(&metrics.text);
        // An older daemon does not know the question.
        let network = client.mesh().network(NetworkRequest {}).await;
        facts.network = network.map(tonic::Response::into_inner).unwrap_or_default();
    }
    Ok(facts)
}

#[cfg(test)]
mod tests;
