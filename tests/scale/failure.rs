//! Why a mesh was not measured to its end.

use std::time::Duration;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A program that is not there, or a file.
    #[error("{0}")]
    Io(String),
    /// A daemon ended, or could not be started.
    #[error("a daemon ended: {how}\n{log}")]
    Ended { how: String, log: String },
    /// A daemon answered with an error.
    #[error("the API says {0}")]
    Api(String),
    /// Something did not come about.
    #[error("after {limit:?} it is still not so: {what} ({state})")]
    Late { what: &'static str, limit: Duration, state: String },
    /// A daemon shows what it must not.
    #[error("{0}")]
    Wrong(String),
    /// Meshes of these sizes did not work.
    #[error("of these numbers of peers not all went well: {0:?}")]
    Meshes(Vec<usize>),
    /// By whoever runs this.
    #[error("interrupted")]
    Interrupted,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Api(format!("{:?}: {}", status.code(), status.message()))
    }
}

impl From<p2p_proto::error::Error> for Failure {
    fn from(error: p2p_proto::error::Error) -> Self {
        Self::Api(error.to_string())
    }
}
