//! What a program at a daemon gets to read.

use std::collections::BTreeSet;

use p2p_proto::client::Client;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Outgoing, PostId, SendRequest, WatchRequest, WatchResponse};
use tokio::time::timeout;
use tonic::Streaming;

use crate::daemons::PATIENCE;
use crate::failure::Failure;

/// Names of posts: author, epoch, number.
pub(crate) type Said = BTreeSet<(String, u64, u64)>;

/// A stream from the beginning of the history on.
pub(crate) struct Reader {
    stream: Streaming<WatchResponse>,
    had: Said,
}

impl Reader {
    pub(crate) async fn open(client: &Client) -> Result<Self, Failure> {
        let request = WatchRequest { start: Some(Start::After(0)), ..WatchRequest::default() };
        Ok(Self { stream: client.chat().watch(request).await?.into_inner(), had: Said::new() })
    }

    /// Reads until it has had so many posts; all that it has had.
    ///
    /// # Errors
    ///
    /// One came twice, or they do not come.
    pub(crate) async fn read(&mut self, count: usize) -> Result<&Said, Failure> {
        while self.had.len() < count {
            let Ok(response) = timeout(PATIENCE, self.stream.message()).await else {
                let state = format!("{} of {count}", self.had.len());
                return Err(Failure::Late { what: "a reader has all posts", limit: PATIENCE, state });
            };
            match response?.and_then(|response| response.item) {
                Some(Item::Batch(batch)) => self.take(batch.posts.into_iter().filter_map(|post| post.id))?,
                Some(Item::CaughtUp(_) | Item::Heartbeat(_)) => (),
                Some(Item::Gap(gap)) => return Err(Failure::Wrong(format!("a reader was told of a gap: {gap:?}"))),
                None => return Err(Failure::Wrong("a stream ended".into())),
            }
        }
        Ok(&self.had)
    }

    fn take(&mut self, ids: impl Iterator<Item = PostId>) -> Result<(), Failure> {
        for id in ids {
            let shown = format!("{id:?} came twice");
            if !self.had.insert((id.author, id.epoch, id.seq)) {
                return Err(Failure::Wrong(shown));
            }
        }
        Ok(())
    }
}

/// Says one thing; its name once it is stored and flushed.
pub(crate) async fn say(client: &Client, text: String) -> Result<(String, u64, u64), Failure> {
    let post = Some(Outgoing { text, ..Outgoing::default() });
    let sent = client.chat().send(SendRequest { post }).await?.into_inner();
    let id = sent.id.ok_or_else(|| Failure::Wrong("a post without a name".into()))?;
    Ok((id.author, id.epoch, id.seq))
}
