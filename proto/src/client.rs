//! A connection to a daemon's API.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::endpoint::Endpoint;
use crate::error::{Code, Error};
use crate::v1::chat_client::ChatClient;
use crate::v1::daemon_client::DaemonClient;
use crate::v1::mesh_client::MeshClient;

/// One connection, shared by the clients of all services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    channel: InterceptedService<Channel, Token>,
}

/// Adds the bearer token to every call, where there is one.
#[derive(Clone, Debug, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Client {
    /// Connects within `timeout`. `token` is needed for TCP endpoints.
    ///
    /// # Errors
    ///
    /// `UNREACHABLE` when nobody answers there, `PERMISSION_DENIED` when the socket is not ours to open.
    pub async fn connect(endpoint: &Endpoint, token: Option<&str>, timeout: Duration) -> Result<Self, Error> {
        let token = Token::new(token)?;
        let uri = match endpoint {
            Endpoint::Unix(path) => format!("unix://{}", path.display()),
            Endpoint::Tcp(addr) => format!("http://{addr}"),
        };
        let builder = tonic::transport::Endpoint::from_shared(uri)
            .map_err(|error| Error::new(Code::InvalidArgument, format!("{endpoint}: {error}")))?
            .connect_timeout(timeout)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let connecting = tokio::time::timeout(timeout, builder.connect());
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(connect_error(endpoint, &error)),
            Err(_) => return Err(Error::new(Code::Unreachable, format!("{endpoint}: no answer in {timeout:?}"))),
        };
        Ok(Self { channel: InterceptedService::new(channel, token) })
    }

    /// Saying and reading.
    #[must_use]
    pub fn chat(&self) -> ChatClient<InterceptedService<Channel, Token>> {
        ChatClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Peers and links.
    #[must_use]
    pub fn mesh(&self) -> MeshClient<InterceptedService<Channel, Token>> {
        MeshClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The daemon itself.
    #[must_use]
    pub fn daemon(&self) -> DaemonClient<InterceptedService<Channel, Token>> {
        DaemonClient::new(self.channel.clone())
    }

    /// `grpc.health.v1`.
    #[must_use]
    pub fn health(&self) -> HealthClient<InterceptedService<Channel, Token>> {
        HealthClient::new(self.channel.clone())
    }
}

impl Token {
    fn new(token: Option<&str>) -> Result<Self, Error> {
        let Some(token) = token else { return Ok(Self(None)) };
        // The value itself is a secret, so the error does not show it.
        let value = format!("Bearer {token}").parse();
        let value =
            value.map_err(|_| Error::new(Code::Unauthenticated, "the token holds characters that no token has"))?;
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn connect_error(endpoint: &Endpoint, error: &tonic::transport::Error) -> Error {
    let io = io_error(error);
    let code = match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::PermissionDenied) => Code::PermissionDenied,
        _ => Code::Unreachable,
    };
    let why = io.map_or_else(|| error.to_string(), ToString::to_string);
    Error::new(code, format!("{endpoint}: {why}"))
}

/// The error of the socket, below all the layers.
fn io_error(error: &tonic::transport::Error) -> Option<&std::io::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref() {
            return Some(io);
        }
        source = inner.source();
    }
    None
}

/// The most a message of the API may have, both ways.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes on their way before the other side must say that it read some.
const WINDOW_BYTES: u32 = 1 << 20;
