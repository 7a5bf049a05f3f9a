//! Receipts: who holds some posts, now and whenever that changed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use p2p_mesh::id::PostId;
use p2p_mesh::status::{HolderState, Receipt};
use p2p_proto::error::Error;
use p2p_proto::v1;
use tonic::Status;

use super::Request;
use super::ask::Asker;
use super::changes::changes;
use super::convert::{invalid, parse_post_id, post_id, time_us};
use crate::names::Names;

/// The stream of one request.
///
/// # Errors
///
/// Ids that are none, or too many of them.
pub(super) fn open(
    asker: Asker,
    names: Names,
    request: v1::ReceiptsRequest,
    pause: Duration,
) -> Result<BoxStream<'static, Result<v1::ReceiptsResponse, Status>>, Error> {
    let ids = parse_ids(request.ids)?;
    let fetch = {
        let asker = asker.clone();
        move || fetch(asker.clone(), names.clone(), Arc::clone(&ids))
    };
    if request.follow {
        return Ok(Box::pin(changes(asker, pause, fetch, timeless)));
    }
    Ok(Box::pin(stream::once(fetch()).map(|answer| answer.map_err(Status::from))))
}

async fn fetch(asker: Asker, names: Names, ids: Arc<[PostId]>) -> Result<v1::ReceiptsResponse, Error> {
    let receipts = asker.ask(|reply| Request::Receipts(ids.to_vec(), reply)).await?;
    Ok(v1::ReceiptsResponse { receipts: receipts.into_iter().map(|receipt| convert(receipt, &names)).collect() })
}

fn parse_ids(ids: Vec<v1::PostId>) -> Result<Arc<[PostId]>, Error> {
    if ids.len() > IDS_MAX {
        let why = format!("receipts of {} messages were asked for, the limit is {IDS_MAX}", ids.len());
        return Err(invalid(why).with_hint("ask for them in parts"));
    }
    ids.into_iter().map(|id| parse_post_id(id, "a post that was asked for")).collect()
}

/// Who was heard of when is no news of a post.
fn timeless(response: &v1::ReceiptsResponse) -> v1::ReceiptsResponse {
    let mut timeless = response.clone();
    for holder in timeless.receipts.iter_mut().flat_map(|receipt| &mut receipt.holders) {
        holder.last_seen_us = 0;
    }
    timeless
}

fn convert(receipt: Receipt, names: &Names) -> v1::Receipt {
    let holders = receipt.holders.iter().filter_map(|holder| {
        let called = names.called(&holder.peer);
        // It tells us nothing, so nobody could wait for it.
        (!called.is_blocked && !called.is_shut_out).then(|| v1::Holder {
            peer: holder.peer.to_string(),
            name: called.name,
            state: state(holder.state).into(),
            last_seen_us: time_us(holder.last_seen_ms),
            petname: called.petname,
        })
    });
    v1::Receipt { id: Some(post_id(receipt.post)), held: receipt.held, holders: holders.collect() }
}

fn state(state: HolderState) -> v1::HolderState {
    match state {
        HolderState::Holds => v1::HolderState::Holds,
        HolderState::Sent => v1::HolderState::Sent,
        HolderState::Linked => v1::HolderState::Linked,
        HolderState::Away => v1::HolderState::Away,
    }
}

/// Posts of one request: each answer names every peer for each of them.
const IDS_MAX: usize = 256;
