//! Following the daemon over its restarts.

#[cfg(feature = "tui")]
use std::cell::RefCell;
use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::error::{Code, Error};
use tonic::{Response, Status, Streaming};

use super::Session;
use crate::connect::Search;
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
            Err(status) if is_gone(&status) => why_gone(&status),
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

/// Follows a stream of states until `judge` gives a result. A daemon that is not there yet, or restarts, is waited for,
/// and `judge` is told why nothing comes meanwhile. It is for the caller to give up.
pub(crate) async fn until<T, R>(
    what: &str,
    session: &Session,
    open: impl AsyncFn(Client) -> Result<Response<Streaming<T>>, Status>,
    mut judge: impl FnMut(Result<T, String>) -> Option<R>,
) -> Outcome<R> {
    let search = session.search.clone().within(session.timeout, Duration::ZERO);
    // A connection that is open already answers sooner.
    let mut client = session.client.clone();
    loop {
        let why = match next_stream(client.take(), &search, &open).await {
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(state)) => {
                        if let Some(result) = judge(Ok(state)) {
                            return Ok(result);
                        }
                    }
                    Ok(None) => break "the daemon ended the stream".to_owned(),
                    Err(status) if is_gone(&status) => break format!("the daemon is gone ({})", why_gone(&status)),
                    Err(status) => return Err(Problem::of_status(what, status).into()),
                }
            },
            Err(Refusal::Unreachable(problem)) if problem.retryable => problem.message,
            Err(Refusal::Unreachable(problem)) => return Err(problem.into()),
            Err(Refusal::Status(status)) if is_gone(&status) => {
                format!("the daemon is gone ({})", why_gone(&status))
            }
            Err(Refusal::Status(status)) => return Err(Problem::of_status(what, status).into()),
        };
        if let Some(result) = judge(Err(why)) {
            return Ok(result);
        }
        tokio::time::sleep(BACKOFF_MIN).await;
    }
}

/// Asks until there is an answer, over restarts of the daemon, and tells `delayed` why there is none yet. `link` is the
/// connection in use.
#[cfg(feature = "tui")]
pub(crate) async fn ask<T>(
    what: &str,
    session: &Session,
    link: &RefCell<Option<Client>>,
    call: impl AsyncFn(Client) -> Result<Response<T>, Status>,
    mut delayed: impl FnMut(String),
) -> Result<T, Problem> {
    let mut backoff = BACKOFF_MIN;
    loop {
        match ask_once(what, session, link, &call).await {
            Ok(answer) => return Ok(answer),
            Err(problem) if problem.retryable => delayed(problem.message),
            Err(problem) => return Err(problem),
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

#[cfg(feature = "tui")]
async fn ask_once<T>(
    what: &str,
    session: &Session,
    link: &RefCell<Option<Client>>,
    call: &impl AsyncFn(Client) -> Result<Response<T>, Status>,
) -> Result<T, Problem> {
    let open = link.borrow().clone();
    let client = match open {
        Some(client) => client,
        None => session.search.clone().within(session.timeout, Duration::ZERO).connect().await?,
    };
    *link.borrow_mut() = Some(client.clone());
    let status = match tokio::time::timeout(session.timeout, call(client)).await {
        Ok(Ok(response)) => return Ok(response.into_inner()),
        Ok(Err(status)) => status,
        Err(_) => Status::deadline_exceeded(format!("no answer in {}", super::span(session.timeout))),
    };
    let is_late = status.code() == tonic::Code::DeadlineExceeded;
    if !is_gone(&status) && !is_late {
        return Err(Problem::of_status(what, status));
    }
    *link.borrow_mut() = None;
    let message = format!("{what}: {}", why_gone(&status));
    Err(Problem { message, retryable: true, ..Problem::of_status(what, status) })
}

/// Why there is no stream.
enum Refusal {
    Unreachable(Problem),
    Status(Status),
}

async fn next_stream<T>(
    client: Option<Client>,
    search: &Search,
    open: &impl AsyncFn(Client) -> Result<Response<Streaming<T>>, Status>,
) -> Result<Streaming<T>, Refusal> {
    let client = match client {
        Some(client) => client,
        None => search.connect().await.map_err(Refusal::Unreachable)?,
    };
    Ok(open(client).await.map_err(Refusal::Status)?.into_inner())
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
    is_from_connection(status) || Error::from(status.clone()).code.is_retryable()
}

/// What the daemon said of itself. What a library says of a broken connection means nothing to a person.
pub(crate) fn why_gone(status: &Status) -> String {
    if is_from_connection(status) { "the connection broke".to_owned() } else { status.message().to_owned() }
}

/// A daemon names its own errors; what has no name came from the connection.
fn is_from_connection(status: &Status) -> bool {
    // A daemon that is too old has no name for what it does not know.
    if status.code() == tonic::Code::Unimplemented {
        return false;
    }
    let unnamed = Error::from(Status::new(status.code(), "")).code;
    let code = Error::from(status.clone()).code;
    code == unnamed && matches!(code, Code::Failed | Code::Unreachable)
}

/// Between two looks for a daemon that is gone: a restart takes some 100 ms.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_says_of_itself_is_told_and_what_a_library_says_is_not() {
        let broken = Status::unknown("h2 protocol error: error reading a body from connection");
        assert_eq!((is_gone(&broken), why_gone(&broken).as_str()), (true, "the connection broke"));
        let stopping = Status::from(Error::new(Code::Stopping, "the daemon is stopping"));
        assert_eq!((is_gone(&stopping), why_gone(&stopping).as_str()), (true, "the daemon is stopping"));
        assert!(!is_gone(&Status::from(Error::new(Code::PermissionDenied, "not yours"))));
        assert!(!is_gone(&Status::unimplemented("")));
    }
}
