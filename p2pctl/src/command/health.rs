//! `health`: the probe of containers, so its exit code is 0 or 1 and nothing else.

use p2p_proto::v1::Health;

use super::{Session, fetch_status};
use crate::args;
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::status::{health_name, render_health};

pub(crate) async fn run(args: &args::Health, session: &mut Session) -> Outcome {
    let status = match fetch_status("health", session).await {
        Ok(status) => status,
        Err(Stop::Problem(problem)) => return Err(Problem { exit: Exit::Failed, ..*problem }.into()),
        Err(Stop::Said(exit)) => return Err(Stop::Said(exit)),
    };
    session.show(|style, out| render_health(&status, style, out))?;
    let well = if args.live { is_live(status.health()) } else { status.ready };
    if well {
        return Ok(());
    }
    let name = health_name(status.health());
    Err(Problem::new(Exit::Failed, "NOT_READY", format!("health: the daemon is {name}")).into())
}

/// It answered, so its loop turns; what is left is whether its store is open. A repair must not be cut short by a
/// restart, so it counts.
fn is_live(health: Health) -> bool {
    match health {
        Health::Starting | Health::Unspecified => false,
        Health::Recovering
        | Health::Isolated
        | Health::Syncing
        | Health::Ready
        | Health::Degraded
        | Health::Stopping => true,
    }
}
