//! The sending programs: a `SendStream` each, as fast as it is accepted or at a given pace.

use std::sync::Arc;
use std::time::Instant;

use p2p_proto::client::Client;
use p2p_proto::v1::send_result::Result as Sent;
use p2p_proto::v1::{Outgoing, SendStreamRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::load::{Beat, Enough};

/// One sending program.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) place: usize,
}

/// Requests on their way, and the task that reads what became of them.
struct Open {
    requests: mpsc::Sender<SendStreamRequest>,
    answers: JoinHandle<Result<u64, Failure>>,
}

impl Sender {
    /// Says as much as is accepted, in requests of many posts.
    pub(crate) async fn flood(self, text_bytes: usize, enough: Enough) -> Result<(), Failure> {
        let per_request = (REQUEST_BYTES / text_bytes).clamp(1, REQUEST_POSTS) as u64;
        let open = self.open();
        let start = Instant::now();
        let mut said = 0;
        while said < enough.posts && start.elapsed() < enough.time {
            let count = per_request.min(enough.posts - said);
            if open.send((0..count).map(|_| self.say(Instant::now())).collect()).await.is_err() {
                break;
            }
            said += count;
        }
        open.finish(said).await
    }

    /// Says a post at each beat, in a request of its own, whether or not earlier ones were answered.
    pub(crate) async fn pace(self, mut beat: Beat) -> Result<(), Failure> {
        let open = self.open();
        let mut said = 0;
        while let Some(at) = beat.next().await {
            if open.send(vec![self.say(at)]).await.is_err() {
                break;
            }
            said += 1;
        }
        open.finish(said).await
    }

    fn say(&self, at: Instant) -> Outgoing {
        Outgoing { text: self.ledger.say(self.place, at), ..Outgoing::default() }
    }

    fn open(&self) -> Open {
        let (requests, receiver) = mpsc::channel(REQUESTS_WAITING_MAX);
        let client = self.client.clone();
        let answers = tokio::spawn(async move {
            let mut answers = client.chat().send_stream(ReceiverStream::new(receiver)).await?.into_inner();
            let mut stored = 0;
            while let Some(answer) = answers.message().await? {
                for result in answer.results {
                    match result.result {
                        Some(Sent::Sent(_)) => stored += 1,
                        Some(Sent::Failed(failure)) => return Err(Failure::new(failure.message)),
                        None => return Err(Failure::new("an empty answer")),
                    }
                }
            }
            Ok(stored)
        });
        Open { requests, answers }
    }
}

impl Open {
    /// Waits while the daemon does not take more. Fails when the stream is broken; `finish` then says why.
    async fn send(&self, posts: Vec<Outgoing>) -> Result<(), ()> {
        self.requests.send(SendStreamRequest { posts }).await.map_err(drop)
    }

    /// Says that this was all and waits until everything is answered.
    async fn finish(self, said: u64) -> Result<(), Failure> {
        drop(self.requests);
        let stored = self.answers.await.map_err(|error| Failure::new(error.to_string()))??;
        if stored != said {
            return Err(Failure::new(format!("{said} posts were said and {stored} were stored")));
        }
        Ok(())
    }
}

/// Posts of one request in a flood: what `p2pctl send -l` puts into one.
const REQUEST_POSTS: usize = 1_024;
const REQUEST_BYTES: usize = 256 << 10;
/// Requests that wait for the socket.
const REQUESTS_WAITING_MAX: usize = 2;
