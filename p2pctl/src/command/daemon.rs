//! `daemon`: its configuration, its figures, and its end.

use p2p_proto::v1::{ConfigRequest, MetricsRequest, StopRequest};

use super::Session;
use crate::args::Daemon;
use crate::exit::Outcome;
use crate::output::rest::{render_config, render_done, render_metrics};

pub(crate) async fn run(command: &Daemon, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    match command {
        Daemon::Config => {
            let config = session.answer("daemon config", client.daemon().config(ConfigRequest {})).await?;
            session.show(|style, out| render_config(&config, style, out))
        }
        Daemon::Metrics => {
            let metrics = session.answer("daemon metrics", client.daemon().metrics(MetricsRequest {})).await?;
            session.show(|style, out| render_metrics(&metrics, style, out))
        }
        Daemon::Stop => {
            session.answer("daemon stop", client.daemon().stop(StopRequest {})).await?;
            session.show(|style, out| render_done("stopping", "stopping", style, out))
        }
    }
}
