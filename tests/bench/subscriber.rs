//! The receiving programs: one live Watch stream at every daemon, read in batches.

use std::sync::Arc;

use p2p_proto::client::Client;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{WatchRequest, WatchResponse};
use tonic::Streaming;

use crate::failure::Failure;
use crate::ledger::Ledger;

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
    let mut held = 0;
    let mut seq = 0;
    while held < count {
        let Item::Batch(batch) = next(&mut stream).await? else { continue };
        for id in batch.posts.iter().filter_map(|post| post.id.as_ref()) {
            if id.seq != seq + 1 {
                return Err(Failure::new(format!("post {} came behind {seq}", id.seq)));
            }
            seq = id.seq;
        }
        held += batch.posts.len() as u64;
    }
    Ok(())
}

async fn watch(client: &Client, start: Start) -> Result<Streaming<WatchResponse>, Failure> {
    let request = WatchRequest { start: Some(start), ..WatchRequest::default() };
    Ok(client.chat().watch(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<Item, Failure> {
    let response = stream.message().await?;
    response.and_then(|response| response.item).ok_or_else(|| Failure::new("the stream ended"))
}
