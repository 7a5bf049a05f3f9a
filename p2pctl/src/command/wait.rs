//! `wait`: for scripts that start a daemon and then need it.

use std::cell::RefCell;

use p2p_proto::client::Client;
use p2p_proto::v1::{
    PostId, Receipt, ReceiptsRequest, ReceiptsResponse, StatusRequest, StatusResponse, SyncStateRequest,
    SyncStateResponse,
};
use tokio::time::Instant;

use super::delivery::Delivery;
use super::sync::is_alone;
use super::{Session, fetch_status, live, span, who};
use crate::args::{Wait, Wanted};
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::posts::short_id;
use crate::output::status::{health_line, render_health};
use crate::output::sync;

pub(crate) async fn run(args: &Wait, session: &mut Session) -> Outcome {
    let end = Instant::now() + session.timeout;
    let posts = posts(args, session).await?;
    let goals = Goals { args, posts, known: RefCell::default() };
    let reached = tokio::time::timeout_at(end, goals.follow(session)).await;
    reached.unwrap_or_else(|_| Err(too_late(&goals.missing(session), goals.hint(), session).into()))?;
    let status = if goals.is_ready_wanted() || args.peers.is_some() { goals.known.take().status } else { None };
    let status = match status {
        Some(Ok(status)) => status,
        Some(Err(_)) | None => fetch_status("wait", session).await?,
    };
    session.show(|style, out| render_health(&status, style, out))
}

/// The posts that are to be delivered. A daemon that is not there yet is waited for, where its peers must be asked.
async fn posts(args: &Wait, session: &mut Session) -> Outcome<Vec<PostId>> {
    if args.delivered.is_empty() {
        return Ok(Vec::new());
    }
    session.search = session.search.clone().within(session.timeout, session.timeout);
    let mut posts = Vec::with_capacity(args.delivered.len());
    for written in &args.delivered {
        posts.push(who::resolve_post(written, session).await.map_err(|stop| match stop {
            Stop::Problem(problem) if problem.exit == Exit::Unreachable => {
                too_late(&problem.message, START_IT, session).into()
            }
            stop => stop,
        })?);
    }
    Ok(posts)
}

fn too_late(missing: &str, hint: &str, session: &Session) -> Problem {
    Problem::timeout(format!("wait: after {}: {missing}", span(session.timeout))).with_hint(hint)
}

/// Everything that has to be true at the same time.
struct Goals<'a> {
    args: &'a Wait,
    posts: Vec<PostId>,
    known: RefCell<Known>,
}

/// What each stream said last, or why it is silent.
#[derive(Default)]
struct Known {
    status: Option<Result<StatusResponse, String>>,
    sync: Option<Result<SyncStateResponse, String>>,
    receipts: Option<Result<ReceiptsResponse, String>>,
}

impl Goals<'_> {
    /// Follows all that matters until nothing is missing. A daemon that is not there yet, or restarts, is waited for.
    async fn follow(&self, session: &Session) -> Outcome {
        let request = ReceiptsRequest { ids: self.posts.clone(), follow: true };
        let status = async |client: Client| client.mesh().watch_status(StatusRequest {}).await;
        let sync = async |client: Client| client.mesh().watch_sync_state(SyncStateRequest::default()).await;
        let receipts = async |client: Client| client.chat().receipts(request.clone()).await;
        tokio::select! {
            biased;
            reached = live::until("wait", session, status, |status| {
                self.known.borrow_mut().status = Some(status);
                self.is_reached(session)
            }), if self.is_status_wanted() => reached,
            reached = live::until("wait", session, sync, |sync| {
                self.known.borrow_mut().sync = Some(sync);
                self.is_reached(session)
            }), if self.args.synced => reached,
            reached = live::until("wait", session, receipts, |receipts| {
                self.known.borrow_mut().receipts = Some(receipts);
                self.is_reached(session)
            }), if !self.posts.is_empty() => reached,
        }
    }

    fn is_reached(&self, session: &Session) -> Option<()> {
        self.missing(session).is_empty().then_some(())
    }

    /// Time alone helps only where somebody is there who can use it.
    fn hint(&self) -> &'static str {
        let known = self.known.borrow();
        let is_there = matches!(known.status, Some(Ok(_)))
            || matches!(known.sync, Some(Ok(_)))
            || matches!(known.receipts, Some(Ok(_)));
        if is_there { MORE_TIME } else { START_IT }
    }

    fn is_ready_wanted(&self) -> bool {
        let is_other_wanted = self.args.peers.is_some() || self.args.synced || !self.args.delivered.is_empty();
        self.args.ready || !is_other_wanted
    }

    /// To be in sync with nobody is enough where nobody is configured, which the status tells.
    fn is_status_wanted(&self) -> bool {
        self.is_ready_wanted() || self.args.peers.is_some() || self.args.synced
    }

    /// In words; nothing when all is true.
    fn missing(&self, session: &Session) -> String {
        let known = self.known.borrow();
        let mut missing: Vec<String> = Vec::new();
        let mut add = |parts: Vec<String>| {
            // A daemon that is gone is gone for all streams.
            let new: Vec<String> = parts.into_iter().filter(|part| !missing.contains(part)).collect();
            missing.extend(new);
        };
        if self.is_status_wanted() {
            add(said(&known.status, |status| self.missing_in_status(status)));
        }
        if self.args.synced {
            let is_alone = matches!(&known.status, Some(Ok(status)) if is_alone(status));
            add(said(&known.sync, |state| sync::what_is_missing(state, is_alone)));
        }
        if !self.posts.is_empty() {
            add(said(&known.receipts, |answer| undelivered(answer, session)));
        }
        missing.join(", ")
    }

    fn missing_in_status(&self, status: &StatusResponse) -> Vec<String> {
        let mut missing = Vec::new();
        if let Some(wanted) = self.args.peers.filter(|wanted| status.peers_up < *wanted) {
            missing.push(format!("{} of {wanted} peers are up", status.peers_up));
        }
        if self.is_ready_wanted() && !status.ready {
            missing.push(format!("the daemon is {}", health_line(status)));
            missing.extend(status.problems.iter().cloned());
        }
        missing
    }
}

/// What is missing in a state, or why there is none.
fn said<T>(known: &Option<Result<T, String>>, missing: impl FnOnce(&T) -> Vec<String>) -> Vec<String> {
    match known {
        Some(Ok(state)) => missing(state),
        Some(Err(why)) => vec![why.clone()],
        None => vec!["no daemon answered".to_owned()],
    }
}

fn undelivered(answer: &ReceiptsResponse, session: &Session) -> Vec<String> {
    let now = (session.io.now)();
    let missing = |receipt: &Receipt| {
        let id = short_id(receipt.id.as_ref());
        if !receipt.held {
            return Some(format!("{id} is not held here"));
        }
        let missing = Delivery::of(std::slice::from_ref(receipt), "").what_is_missing(Wanted::Everyone, now);
        (!missing.is_empty()).then(|| format!("{id}: {missing}"))
    };
    answer.receipts.iter().filter_map(missing).collect()
}

const MORE_TIME: &str = "give it more time with --timeout";
const START_IT: &str = "start the daemon with: p2pd; where it is on its way, give it more time with --timeout";
