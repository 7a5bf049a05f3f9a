//! `grpc.health.v1`: "serving" means ready, asked anew each time, so it is never older than the question.

use futures_util::Stream;
use futures_util::stream::BoxStream;
use p2p_proto::tonic_health::pb::health_check_response::ServingStatus;
use p2p_proto::tonic_health::pb::health_server::Health;
use p2p_proto::tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use p2p_proto::v1::chat_server::ChatServer;
use p2p_proto::v1::daemon_server::DaemonServer;
use p2p_proto::v1::mesh_server::MeshServer;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};

use super::chat::ChatService;
use super::convert::invalid;
use super::daemon::DaemonService;
use super::mesh::MeshService;

/// Answers `Health` for the daemon and each of its services.
#[derive(Clone, Debug)]
pub(super) struct HealthService {
    pub(super) mesh: MeshService,
}

/// All stand and fall together, because one loop is behind them.
const SERVICES: [&str; 4] = [
    "",
    <ChatServer<ChatService> as NamedService>::NAME,
    <MeshServer<MeshService> as NamedService>::NAME,
    <DaemonServer<DaemonService> as NamedService>::NAME,
];

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        check_service(&request.into_inner().service)?;
        Ok(Response::new(response(self.serving().await)))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        check_service(&request.into_inner().service)?;
        Ok(Response::new(Box::pin(self.clone().changes())))
    }
}

impl HealthService {
    async fn serving(&self) -> ServingStatus {
        match self.mesh.fetch_status().await {
            Ok(status) if status.ready => ServingStatus::Serving,
            Ok(_) | Err(_) => ServingStatus::NotServing,
        }
    }

    /// The state now and at each change; it ends with "not serving" when the daemon stops.
    fn changes(self) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send {
        futures_util::stream::unfold((self, None), |(this, shown)| async move {
            let stop = this.mesh.asker.stop();
            loop {
                if shown.is_some() {
                    tokio::select! {
                        () = stop.cancelled() => (),
                        () = tokio::time::sleep(this.mesh.pause) => (),
                    }
                }
                let serving = this.serving().await;
                if shown != Some(serving) {
                    return Some((Ok(response(serving)), (this, Some(serving))));
                }
                if stop.is_cancelled() {
                    return None;
                }
            }
        })
    }
}

fn response(serving: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: serving.into() }
}

fn check_service(service: &str) -> Result<(), Status> {
    if SERVICES.contains(&service) {
        return Ok(());
    }
    let shown: String = service.chars().take(64).collect();
    let mut error = invalid(format!("there is no service {shown:?} here"));
    error.code = p2p_proto::error::Code::NotFound;
    Err(error.into())
}
