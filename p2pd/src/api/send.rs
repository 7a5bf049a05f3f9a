//! Sending many: requests are handed on while earlier ones are still being flushed, and answered in order.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream};
use p2p_mesh::effect::{Refusal, Sent};
use p2p_mesh::input::Draft;
use p2p_mesh::limits::{OUTBOX_BYTES_MAX, OUTBOX_POSTS_MAX};
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::ask::{Asker, stopping};
use super::drafts::Drafts;
use super::{Request, access, convert};

/// One client's stream of posts, and what became of them so far.
pub(super) struct SendStream {
    asker: Asker,
    drafts: Drafts,
    requests: Streaming<v1::SendStreamRequest>,
    /// Read, and not handed on while others fill the driver.
    request: Option<v1::SendStreamRequest>,
    waiting: VecDeque<Waiting>,
    budget: Budget,
    input: InputState,
    /// Ends the waiting for a driver that does not answer any more.
    give_up: BoxFuture<'static, ()>,
}

/// Whether more is read from the client.
#[derive(Debug)]
enum InputState {
    Open,
    /// The client said that this was all.
    Complete,
    /// No more is read. What waits is answered, then the stream ends with this.
    Ended(Status),
}

/// One request that the driver has, in the order of its items.
#[derive(Debug)]
struct Waiting {
    items: Vec<Item>,
    answer: Answer,
}

/// The driver's answer: on its way, or not needed because nothing was handed on. A task waits for it, so that what it
/// took of the budget is given back although the client does not read.
type Answer = Option<JoinHandle<Results>>;

/// One result per draft; fewer where the driver went away.
type Results = Vec<Result<Sent, Refusal>>;

/// How much all senders together may have waiting at the driver. Half of what the mesh takes, so that who sends
/// through here waits and is not refused. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

#[derive(Debug)]
enum Item {
    /// The driver has it.
    Asked,
    /// It never got that far.
    Failed(Error),
}

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET)))
    }

    /// Waits until there is room for these posts.
    pub(super) async fn take(&self, posts: &[v1::Outgoing]) -> OwnedSemaphorePermit {
        let cost: usize = posts.iter().map(cost).sum();
        let cost = u32::try_from(cost.min(BUDGET)).expect("the budget is far below 2^32");
        Arc::clone(&self.0).acquire_many_owned(cost).await.expect("nobody closes the budget")
    }
}

impl SendStream {
    pub(super) fn new(
        asker: Asker,
        budget: Budget,
        drafts: Drafts,
        requests: Streaming<v1::SendStreamRequest>,
    ) -> Self {
        let late = asker.clone();
        Self {
            asker,
            drafts,
            requests,
            request: None,
            waiting: VecDeque::new(),
            budget,
            input: InputState::Open,
            give_up: Box::pin(async move { late.is_late().await }),
        }
    }

    /// The answers, made as they are pulled. A client that does not read them is not read from either.
    pub(super) fn answers(self) -> impl Stream<Item = Result<v1::SendStreamResponse, Status>> + Send {
        futures_util::stream::unfold(Some(self), |stream| async {
            let mut stream = stream?;
            match stream.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(stream))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<v1::SendStreamResponse>, Status> {
        loop {
            if self.waiting.is_empty() && self.request.is_none() {
                match &self.input {
                    InputState::Open => (),
                    InputState::Complete => return Ok(None),
                    InputState::Ended(why) => return Err(why.clone()),
                }
            }
            let is_open = matches!(self.input, InputState::Open);
            let is_room = self.waiting.len() < REQUESTS_WAITING_MAX;
            let stop = self.asker.stop().clone();
            tokio::select! {
                biased;
                results = first_answer(&mut self.waiting), if !self.waiting.is_empty() => {
                    return Ok(Some(self.collect(results)));
                }
                () = stop.cancelled(), if is_open => self.input = InputState::Ended(stopping().into()),
                () = &mut self.give_up, if !self.waiting.is_empty() => return Ok(Some(self.abandon())),
                permit = take_budget(&self.budget, self.request.as_ref()), if self.request.is_some() => {
                    if let Some(request) = self.request.take() {
                        self.hand_on(request, permit).await;
                    }
                }
                message = self.requests.message(), if is_open && is_room && self.request.is_none() => {
                    self.on_message(message);
                }
            }
        }
    }

    fn on_message(&mut self, message: Result<Option<v1::SendStreamRequest>, Status>) {
        match message {
            Ok(Some(request)) if request.posts.is_empty() => (),
            Ok(Some(request)) => self.request = Some(request),
            Ok(None) => self.input = InputState::Complete,
            Err(status) if status.code() == tonic::Code::OutOfRange => {
                self.input = InputState::Ended(access::oversize(&status).into());
            }
            Err(status) => self.input = InputState::Ended(status),
        }
    }

    /// Gives a request to the driver. Items that cannot even be asked wait for their turn beside the others.
    async fn hand_on(&mut self, request: v1::SendStreamRequest, permit: OwnedSemaphorePermit) {
        let oversize = oversize(&request);
        let mut drafts = Vec::new();
        let mut items = Vec::with_capacity(request.posts.len());
        for post in request.posts {
            let draft = match &oversize {
                Some(error) => Err(error.clone()),
                None => self.drafts.draft(post).await,
            };
            items.push(match draft {
                Ok(draft) => {
                    drafts.push(draft);
                    Item::Asked
                }
                Err(error) => Item::Failed(error),
            });
        }
        let answer = if drafts.is_empty() { None } else { self.ask(drafts, permit).await };
        self.waiting.push_back(Waiting { items, answer });
    }

    /// No answer will come from a driver that is gone; `merge` says so for each item.
    async fn ask(&mut self, drafts: Vec<Draft>, permit: OwnedSemaphorePermit) -> Answer {
        let answer = self.asker.start(|reply| Request::Publish { drafts, reply }).await.ok()?;
        Some(tokio::spawn(async move {
            let results = answer.await.unwrap_or_default();
            drop(permit);
            results
        }))
    }

    /// The first request's results, and those of all behind it that are there too.
    fn collect(&mut self, first: Results) -> v1::SendStreamResponse {
        let mut merged = Vec::new();
        let mut next = Some(first);
        while let Some(results) = next.take() {
            let Some(answered) = self.waiting.pop_front() else { break };
            merged.extend(merge(answered.items, results));
            if merged.len() < RESULTS_PER_MESSAGE {
                next = first_answer(&mut self.waiting).now_or_never().filter(|_| !self.waiting.is_empty());
            }
        }
        v1::SendStreamResponse { results: merged }
    }

    /// What waits is told that the daemon stops.
    fn abandon(&mut self) -> v1::SendStreamResponse {
        let items = self.waiting.drain(..).flat_map(|waiting| waiting.items);
        v1::SendStreamResponse { results: merge(items.collect(), Results::new()).collect() }
    }
}

fn cost(post: &v1::Outgoing) -> usize {
    let growth = if post.to.is_empty() { 1 } else { SEALED_GROWTH_MAX };
    (post.text.len() * growth).max(POST_COST_MIN)
}

async fn first_answer(waiting: &mut VecDeque<Waiting>) -> Results {
    match waiting.front_mut().and_then(|first| first.answer.as_mut()) {
        Some(answer) => answer.await.unwrap_or_default(),
        None => Results::new(),
    }
}

async fn take_budget(budget: &Budget, request: Option<&v1::SendStreamRequest>) -> OwnedSemaphorePermit {
    budget.take(request.map_or(&[], |request| &request.posts)).await
}

/// What became of each item, in order.
fn merge(items: Vec<Item>, results: Results) -> impl Iterator<Item = v1::SendResult> {
    let mut results = results.into_iter();
    items.into_iter().map(move |item| match item {
        Item::Failed(error) => convert::failed(error),
        Item::Asked => match results.next() {
            Some(result) => convert::result(&result),
            None => convert::failed(stopping()),
        },
    })
}

fn oversize(request: &v1::SendStreamRequest) -> Option<Error> {
    let posts = request.posts.len();
    let bytes: usize = request.posts.iter().map(|post| post.text.len()).sum();
    // A single long text gets the error that names the limit of texts.
    let is_over = posts > POSTS_PER_REQUEST_MAX || (posts > 1 && bytes > BYTES_PER_REQUEST_MAX);
    is_over.then(|| {
        let limits = format!("the limits are {POSTS_PER_REQUEST_MAX} and {BYTES_PER_REQUEST_MAX}");
        let why =
            format!("one request has {posts} messages and {bytes} bytes of text, {limits}; nothing of it was sent");
        Error::new(Code::TooLarge, why).with_hint("send it as several requests")
    })
}

/// Messages of one request.
const POSTS_PER_REQUEST_MAX: usize = 4_096;
/// Bytes of text of one request.
const BYTES_PER_REQUEST_MAX: usize = 1 << 20;
/// Requests that the driver may have of one stream. Enough to fill every flush; the rest waits at the client.
const REQUESTS_WAITING_MAX: usize = 64;
/// Results after which an answer is sent although more are there.
const RESULTS_PER_MESSAGE: usize = 4_096;
/// Bytes of text that all senders together may have waiting.
const BUDGET: usize = OUTBOX_BYTES_MAX / 2;
/// What a short text costs, so that the number of posts stays below half of the limit too.
const POST_COST_MIN: usize = OUTBOX_BYTES_MAX / OUTBOX_POSTS_MAX;
/// How much longer a text may be when it is sealed: padded to twice its length at most, then as base64.
const SEALED_GROWTH_MAX: usize = 4;

const _: () = assert!(BYTES_PER_REQUEST_MAX + POSTS_PER_REQUEST_MAX * POST_COST_MIN <= BUDGET);
