//! `daemon`: its configuration, its log, its figures, and its end.

use std::time::Duration;

use p2p_proto::v1::{ConfigRequest, MetricsRequest, ReloadRequest, SetLogFilterRequest, StopRequest};

use super::Session;
use crate::args::{Daemon, LogLevel};
use crate::exit::Outcome;
use crate::output::operate::{render_config, render_log_filter, render_reload};
use crate::output::rest::{render_done, render_metrics};

pub(crate) async fn run(command: &Daemon, session: &mut Session) -> Outcome {
    let client = session.client().await?;
    match command {
        Daemon::Config => {
            let config = session.answer("daemon config", client.daemon().config(ConfigRequest::default())).await?;
            session.show(|style, out| render_config(&config, style, out))
        }
        Daemon::Metrics => {
            let metrics = session.answer("daemon metrics", client.daemon().metrics(MetricsRequest {})).await?;
            session.show(|style, out| render_metrics(&metrics, style, out))
        }
        Daemon::Reload => {
            let reload = session.answer("daemon reload", client.daemon().reload(ReloadRequest {})).await?;
            for warning in &reload.warnings {
                session.warn(warning);
            }
            session.show(|style, out| render_reload(&reload, style, out))
        }
        Daemon::LogLevel(LogLevel { filter, time }) => {
            let request =
                SetLogFilterRequest { filter: filter.clone().unwrap_or_default(), for_ms: time.map_or(0, ms) };
            let log = session.answer("daemon log-level", client.daemon().set_log_filter(request)).await?;
            session.show(|style, out| render_log_filter(&log, style, out))
        }
        Daemon::Stop => {
            session.answer("daemon stop", client.daemon().stop(StopRequest {})).await?;
            session.show(|style, out| render_done("stopping", "stopping", style, out))
        }
    }
}

/// 0 would mean for ever, and so much is as good as that.
fn ms(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX).max(1)
}
