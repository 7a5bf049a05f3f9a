//! Finding the daemon.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::error::{Code, Error};
use tokio::time::Instant;

use crate::exit::{Exit, Problem};

/// Where daemons may be, and how long to look for one.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// In the order they are tried.
    endpoints: Vec<Endpoint>,
    token_file: Option<PathBuf>,
    timeout: Duration,
    /// How long a daemon may take to appear.
    wait: Duration,
}

impl Search {
    /// `given` is what the user said; else the usual places are tried, those of this user first.
    pub(crate) fn new(
        given: Option<&str>,
        runtime_dir: Option<&Path>,
        data_dir: Option<&Path>,
    ) -> Result<Self, Problem> {
        let endpoints = match given {
            Some(text) => vec![text.parse::<Endpoint>().map_err(|error| {
                Problem::usage(format!("socket {error}")).with_hint("as in: --socket /run/p2pd/p2pd.sock")
            })?],
            None => {
                let session = runtime_dir.map(|dir| dir.join("p2p/p2pd.sock"));
                let own = data_dir.map(|dir| dir.join("p2pd.sock"));
                session.into_iter().chain(own).chain(["/run/p2pd/p2pd.sock".into()]).map(Endpoint::Unix).collect()
            }
        };
        Ok(Self { endpoints, token_file: None, timeout: DEFAULT_TIMEOUT, wait: Duration::ZERO })
    }

    /// The file with the token that TCP needs.
    pub(crate) fn with_token_file(self, token_file: Option<PathBuf>) -> Self {
        Self { token_file, ..self }
    }

    /// How long an answer may take, and how long a daemon may take to appear.
    pub(crate) fn within(self, timeout: Duration, wait: Duration) -> Self {
        Self { timeout, wait, ..self }
    }

    /// Tries every place, again and again while there is time.
    ///
    /// # Errors
    ///
    /// Nobody answers, or somebody who does not want us.
    pub(crate) async fn connect(&self) -> Result<Client, Problem> {
        let token = self.read_token()?;
        let end = Instant::now() + self.wait;
        loop {
            let problem = match self.connect_once(token.as_deref()).await {
                Ok(client) => return Ok(client),
                Err(problem) => problem,
            };
            if problem.exit != Exit::Unreachable || Instant::now() + RETRY > end {
                return Err(problem);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn connect_once(&self, token: Option<&str>) -> Result<Client, Problem> {
        let mut tried = Vec::new();
        for endpoint in &self.endpoints {
            match Client::connect(endpoint, token, self.timeout).await {
                Ok(client) => return Ok(client),
                Err(error) if error.code == Code::Unreachable => tried.push(why_unreachable(endpoint, &error)),
                Err(error) => return Err(denied(error)),
            }
        }
        let message = format!("connect: no daemon at {}", tried.join(" or "));
        let problem = Problem::of("", Error::new(Code::Unreachable, "")).with_hint("start it with: p2pd");
        Err(Problem { message, ..problem })
    }

    fn read_token(&self) -> Result<Option<String>, Problem> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let token = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("token file {}: {error}", path.display());
            Problem::new(Exit::Denied, Code::Unauthenticated.name(), message)
        })?;
        Ok(Some(token.trim().to_owned()))
    }
}

/// The error of the socket, or what the path is instead of one.
fn why_unreachable(endpoint: &Endpoint, error: &Error) -> String {
    let why = error.message.strip_prefix(&format!("{endpoint}: ")).unwrap_or(&error.message);
    let why = match endpoint {
        Endpoint::Unix(path) => match std::fs::metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => "it is no socket".to_owned(),
            Ok(_) if why.contains("refused") => "its socket is there, but nobody listens on it".to_owned(),
            Ok(_) => why.to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "no such file".to_owned(),
            Err(_) => why.to_owned(),
        },
        Endpoint::Tcp(_) => why.to_owned(),
    };
    format!("{endpoint} ({})", without_number(&why))
}

/// What the system says, without the number that it adds for programmers.
pub(crate) fn without_number(why: &str) -> &str {
    why.rsplit_once(" (os error ").filter(|(_, number)| number.ends_with(')')).map_or(why, |(text, _)| text)
}

fn denied(error: Error) -> Problem {
    let error = Error { message: without_number(&error.message).to_owned(), ..error };
    let problem = Problem::of("connect", error);
    if problem.hint.is_empty() && problem.exit == Exit::Denied {
        return problem.with_hint("the daemon there is not yours: run as its user, or as a member of its api_group; or start your own with: p2pd");
    }
    problem
}

/// How long an answer may take where nothing is said.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks for a daemon that is not there yet.
const RETRY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_01_a_socket_that_is_not_ours_is_denied() {
        let problem =
            denied(Error::new(Code::PermissionDenied, "unix:/run/p2pd/p2pd.sock: Permission denied (os error 13)"));
        assert_eq!(problem.exit, Exit::Denied);
        assert_eq!(problem.message, "connect: unix:/run/p2pd/p2pd.sock: Permission denied");
        assert!(problem.hint.ends_with("start your own with: p2pd"), "{}", problem.hint);
        let own_hint = Error::new(Code::Unauthenticated, "token").with_hint("see the file");
        assert_eq!(denied(own_hint).hint, "see the file");
    }
}
