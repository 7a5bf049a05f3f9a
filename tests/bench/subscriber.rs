//! The receiving programs: one live Watch stream at every daemon, read in batches.

use std::sync::Arc;

use p2p_proto::client::Client;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{WatchRequest, WatchResponse};
use tonic::Streaming;

use crate::failure::Failure;
use crate::ledger::Ledger;

/// What a newcomer has of one feed.
#[derive(Debug)]
struct History {
    /// By number, from the first on.
    held: Vec<bool>,
    missing: u64,
    newest: u64,
}

/// Reads what arrives at one daemon into the ledger, from now on until the daemon ends the stream.
pub(crate) async fn subscribe(client: &Client, ledger: Arc<Ledger>, place: usize) -> Result<(), Failure> {
    let mut stream = watch(client, Start::Live(true)).await?;
    // Everything that is said after this is in the stream.
    while !matches!(next(&mut stream).await?, Item::CaughtUp(_)) {}
    tokio::spawn(async move {
        loop {
            match next(&mut stream).await {
                Ok(Item::Batch(batch)) => ledger.on_arrived(place, &batch.posts),
                Ok(Item::CaughtUp(_) | Item::Heartbeat(_)) => (),
                Ok(Item::Gap(gap)) => {
                    return ledger.on_failed(Failure::new(format!("subscriber {place} was told of a gap: {gap:?}")));
                }
                Err(failure) => {
                    return ledger.on_failed(Failure::new(format!("subscriber {place}: {failure}")));
                }
            }
        }
    });
    Ok(())
}

/// Reads from the beginning of the history until `count` posts have come.
pub(crate) async fn read_all(client: &Client, count: u64) -> Result<(), Failure> {
    let mut stream = watch(client, Start::After(0)).await?;
    let mut history = History::new(count);
    while history.missing > 0 {
        let Item::Batch(batch) = next(&mut stream).await? else { continue };
        for post in &batch.posts {
            history.take(post.id.as_ref().map_or(0, |id| id.seq), post.late)?;
        }
    }
    Ok(())
}

impl History {
    fn new(count: u64) -> Self {
        Self { held: vec![false; count as usize], missing: count, newest: 0 }
    }

    fn take(&mut self, seq: u64, is_late: bool) -> Result<(), Failure> {
        // Who is far behind gets the newest posts first, and the others as late ones.
        if !is_late && seq <= self.newest {
            return Err(Failure::new(format!("post {seq} came behind {}, and not as a late one", self.newest)));
        }
        let held = usize::try_from(seq).ok().and_then(|seq| self.held.get_mut(seq.checked_sub(1)?));
        let held = held.ok_or_else(|| Failure::new(format!("nobody said post {seq}")))?;
        if std::mem::replace(held, true) {
            return Err(Failure::new(format!("post {seq} came twice")));
        }
        self.missing -= 1;
        self.newest = self.newest.max(seq);
        Ok(())
    }
}

async fn watch(client: &Client, start: Start) -> Result<Streaming<WatchResponse>, Failure> {
    let request = WatchRequest { start: Some(start), ..WatchRequest::default() };
    Ok(client.chat().watch(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<Item, Failure> {
    let response = stream.message().await?;
    response.and_then(|response| response.item).ok_or_else(|| Failure::new("the stream ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_whole_in_order_or_with_its_older_posts_late() {
        let mut history = History::new(4);
        for (seq, is_late) in [(3, false), (4, false), (1, true), (2, true)] {
            assert!(history.missing > 0);
            history.take(seq, is_late).unwrap();
        }
        assert_eq!(history.missing, 0);
    }

    #[test]
    fn posts_out_of_order_twice_or_of_nobody_are_mistakes() {
        let mut history = History::new(4);
        history.take(2, false).unwrap();
        for (seq, is_late) in [(1, false), (2, false), (2, true), (0, true), (5, false)] {
            assert!(history.take(seq, is_late).is_err(), "{seq}");
        }
    }
}
