//! The service `Daemon`: the daemon itself.

use std::sync::Arc;
use std::time::Duration;

use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::daemon_server::Daemon;
use tonic::{Request, Response, Status};

use super::ask::Asker;
use super::{Facts, LogFilter, LogWish, Order, Reporter};
use crate::config::{Change, ConfigErrors};
use crate::metrics::{self, Exposition};

/// Answers `Daemon`.
#[derive(Debug)]
pub(super) struct DaemonService {
    pub(super) asker: Asker,
    pub(super) facts: Arc<Facts>,
    pub(super) reporter: Reporter,
}

#[tonic::async_trait]
impl Daemon for DaemonService {
    async fn config(&self, request: Request<v1::ConfigRequest>) -> Result<Response<v1::ConfigResponse>, Status> {
        let choices = self.facts.live.now();
        let rows = choices.config.iter().cloned();
        let values = rows.map(|row| v1::ConfigValue { key: row.key, value: row.value, source: row.source });
        let mut response = v1::ConfigResponse { values: values.collect(), ..v1::ConfigResponse::default() };
        if request.into_inner().compare {
            match self.asker.order(Order::Compare).await? {
                Ok(changes) => response.changes = changes.into_iter().map(change).collect(),
                Err(errors) => response.mistakes = some_of(&errors),
            }
        }
        Ok(Response::new(response))
    }

    async fn reload(&self, _request: Request<v1::ReloadRequest>) -> Result<Response<v1::ReloadResponse>, Status> {
        let reload = self.asker.order(Order::Reload).await?.map_err(|errors| mistaken(&errors))?;
        Ok(Response::new(v1::ReloadResponse {
            changes: reload.changes.into_iter().map(change).collect(),
            warnings: reload.warnings,
            dials: reload.dials,
        }))
    }

    async fn set_log_filter(
        &self,
        request: Request<v1::SetLogFilterRequest>,
    ) -> Result<Response<v1::SetLogFilterResponse>, Status> {
        let v1::SetLogFilterRequest { filter, for_ms } = request.into_inner();
        let time = (for_ms > 0).then(|| Duration::from_millis(for_ms.into()));
        if filter.is_empty() && time.is_some() {
            return Err(refused("for_ms is given, and no filter".to_owned()).into());
        }
        let wish = (!filter.is_empty()).then_some(LogWish { filter, time });
        let set = self.asker.order(|reply| Order::Log { wish, reply }).await?.map_err(refused)?;
        let LogFilter { filter, back } = set;
        let (back_to, back_in) = back.unwrap_or_default();
        let back_in_ms = u32::try_from(back_in.as_millis()).unwrap_or(u32::MAX);
        Ok(Response::new(v1::SetLogFilterResponse { filter, back_to, back_in_ms }))
    }

    async fn stop(&self, _request: Request<v1::StopRequest>) -> Result<Response<v1::StopResponse>, Status> {
        self.asker.tell(super::Request::Stop).await?;
        Ok(Response::new(v1::StopResponse {}))
    }

    async fn metrics(&self, _request: Request<v1::MetricsRequest>) -> Result<Response<v1::MetricsResponse>, Status> {
        let snapshot = self.reporter.snapshot().await?;
        Ok(Response::new(v1::MetricsResponse { text: metrics::render(&snapshot, Exposition::Plain) }))
    }
}

fn refused(why: String) -> Error {
    Error::new(Code::InvalidArgument, why)
}

fn change(change: Change) -> v1::ConfigChange {
    v1::ConfigChange { key: change.key.to_owned(), old: change.old, new: change.new, applied: change.is_applied }
}

fn mistaken(errors: &ConfigErrors) -> Error {
    refused(format!("nothing was changed: {}", some_of(errors)))
        .with_hint("see them all: p2pd check, started as the daemon is, or its log")
}

/// All mistakes in one message, as far as a header holds them; the log has all.
fn some_of(errors: &ConfigErrors) -> String {
    let mistakes = errors.mistakes();
    let mut message = String::new();
    let mut told = 0;
    for mistake in mistakes {
        if told > 0 && message.len() + mistake.len() > MISTAKES_BYTES_MAX {
            break;
        }
        message.push_str(if told > 0 { "; " } else { "" });
        message.extend(mistake.chars().take(MISTAKES_BYTES_MAX / 2));
        told += 1;
    }
    if told < mistakes.len() {
        message.push_str(&format!("; and {} more mistakes", mistakes.len() - told));
    }
    message
}

/// An error travels in a header, where every byte may take three, and some readers stop at 8 KiB.
const MISTAKES_BYTES_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_mistakes_there_are_they_fit_a_header() {
        let few = mistaken(&ConfigErrors::new(vec!["a: b".into(), "c: d".into()]));
        assert_eq!(few.message, "nothing was changed: a: b; c: d");
        let many = mistaken(&ConfigErrors::new(vec!["x".repeat(500); 100]));
        assert!(many.message.len() < 3_000 && many.message.ends_with("and 97 more mistakes"), "{}", many.message);
        assert!(mistaken(&ConfigErrors::new(vec!["\u{fc}".repeat(60_000)])).message.len() < 3_000);
    }
}
