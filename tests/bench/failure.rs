//! Why measuring ended early: a lost post, a daemon that is gone, a limit that was reached.

use std::fmt;

/// One sentence, for whoever runs this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self(format!("the API says {:?}: {}", status.code(), status.message()))
    }
}

impl From<p2p_proto::error::Error> for Failure {
    fn from(error: p2p_proto::error::Error) -> Self {
        Self(error.to_string())
    }
}
