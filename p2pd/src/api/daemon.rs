//! The service `Daemon`: the daemon itself.

use std::sync::Arc;

use p2p_proto::v1;
use p2p_proto::v1::daemon_server::Daemon;
use tonic::{Request, Response, Status};

use super::ask::Asker;
use super::{Facts, Reporter};
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
    async fn config(&self, _request: Request<v1::ConfigRequest>) -> Result<Response<v1::ConfigResponse>, Status> {
        let rows = self.facts.config.iter().cloned();
        let values = rows.map(|row| v1::ConfigValue { key: row.key, value: row.value, source: row.source });
        Ok(Response::new(v1::ConfigResponse { values: values.collect() }))
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
