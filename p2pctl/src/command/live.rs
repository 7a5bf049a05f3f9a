//! Following the daemon over its restarts.

use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::error::{Code, Error};
use tonic::{Response, Status, Streaming};

use super::Session;
use crate::exit::{Outcome, Problem, Stop};

/// Shows every state of a stream of states. When the daemon is gone, waits for it to come back, as `watch` does.
pub(crate) async fn follow<T>(
    what: &str,
    session: &mut Session,
    open: impl AsyncFn(Client) -> Result<Response<Streaming<T>>, Status>,
    mut show: impl FnMut(T, &mut Session) -> Outcome,
) -> Outcome {
    let client = session.client().await?;
    let mut stream = session.answer(what, open(client)).await?;
    let mut backoff = BACKOFF_MIN;
    loop {
        let why = match stream.message().await {
            Ok(Some(state)) => {
                show(state, session)?;
                backoff = BACKOFF_MIN;
                continue;
            }
            Ok(None) => "it ended the stream".to_owned(),
            Err(status) if is_gone(&status) => status.message().to_owned(),
            Err(status) => return Err(Problem::of_status(what, status).into()),
        };
        say_gone(&why, session);
        stream = loop {
            let client = find_again(&mut backoff, session).await?;
            match session.answer(what, open(client)).await {
                Ok(stream) => break stream,
                Err(Stop::Problem(problem)) if problem.retryable => (),
                Err(stop) => return Err(stop),
            }
        };
    }
}

/// Tells a person why nothing comes any more.
pub(crate) fn say_gone(why: &str, session: &mut Session) {
    session.note(&format!("the daemon is gone ({why}); waiting for it to come back"));
}

/// Waits longer from time to time, but never gives up.
pub(crate) async fn find_again(backoff: &mut Duration, session: &Session) -> Outcome<Client> {
    loop {
        tokio::time::sleep(*backoff).await;
        *backoff = (*backoff * 2).min(BACKOFF_MAX);
        match session.search.connect().await {
            Ok(client) => return Ok(client),
            Err(problem) if problem.retryable => (),
            Err(problem) => return Err(problem.into()),
        }
    }
}

/// The daemon stopped or was killed, as far as a broken stream can tell.
pub(crate) fn is_gone(status: &Status) -> bool {
    let unnamed = Error::from(Status::new(status.code(), "")).code;
    let error = Error::from(status.clone());
    // A daemon names its own errors; what has no name came from the connection.
    let from_connection = error.code == unnamed && matches!(error.code, Code::Failed | Code::Unreachable);
    from_connection || error.code.is_retryable()
}

/// Between two looks for a daemon that is gone: a restart takes some 100 ms.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
