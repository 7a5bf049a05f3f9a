//! `wait`: for scripts that start a daemon and then need it.

use std::future::pending;

use p2p_proto::v1::{StatusRequest, StatusResponse};
use tokio::time::Instant;

use super::{Session, span};
use crate::args::Wait;
use crate::exit::{Exit, Outcome, Problem};
use crate::output::status::{health_line, render_health};

pub(crate) async fn run(args: &Wait, session: &mut Session) -> Outcome {
    let end = Instant::now() + session.timeout;
    let mut missing = "no daemon answered".to_owned();
    match tokio::time::timeout_at(end, until_good(args, session, &mut missing)).await {
        Ok(status) => {
            let status = status?;
            session.show(|style, out| render_health(&status, style, out))
        }
        Err(_) => Err(Problem::timeout(format!("wait: after {}: {missing}", span(session.timeout)))
            .with_hint("give it more time with --timeout")
            .into()),
    }
}

/// Follows the state until nothing is missing. A daemon that is not there yet, or restarts, is waited for.
async fn until_good(args: &Wait, session: &Session, missing: &mut String) -> Outcome<StatusResponse> {
    let search = session.search.clone().within(session.timeout, session.timeout);
    loop {
        let client = match search.connect().await {
            Ok(client) => client,
            Err(problem) if problem.exit == Exit::Unreachable => {
                *missing = problem.message;
                pending().await
            }
            Err(problem) => return Err(problem.into()),
        };
        let mut stream = match client.mesh().watch_status(StatusRequest {}).await {
            Ok(response) => response.into_inner(),
            Err(status) => {
                let problem = Problem::of_status("wait", status);
                if !problem.retryable {
                    return Err(problem.into());
                }
                *missing = problem.message;
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        while let Ok(Some(status)) = stream.message().await {
            *missing = what_is_missing(args, &status);
            if missing.is_empty() {
                return Ok(status);
            }
        }
        *missing = "the daemon stopped".to_owned();
        tokio::time::sleep(RETRY).await;
    }
}

fn what_is_missing(args: &Wait, status: &StatusResponse) -> String {
    let mut missing = Vec::new();
    if let Some(wanted) = args.peers.filter(|wanted| status.peers_up < *wanted) {
        missing.push(format!("{} of {wanted} peers are up", status.peers_up));
    }
    let ready_wanted = args.ready || args.peers.is_none();
    if ready_wanted && !status.ready {
        missing.push(format!("the daemon is {}", health_line(status)));
        missing.extend(status.problems.iter().cloned());
    }
    missing.join(", ")
}

/// Between two questions to a daemon that comes or goes.
const RETRY: std::time::Duration = std::time::Duration::from_millis(50);
