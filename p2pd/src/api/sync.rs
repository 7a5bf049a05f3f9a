//! The state of the sync: what is held of each author, what is known to exist, and who agrees.

use std::collections::BTreeSet;
use std::sync::Arc;

use p2p_mesh::effect::Refusal;
use p2p_mesh::id::{Instance, Offset};
use p2p_mesh::mesh::is_room;
use p2p_mesh::status::{FeedSync, Hole, PeerSync, SyncState};
use p2p_proto::error::Error;
use p2p_proto::v1;
use tokio::sync::Mutex;

use super::Request;
use super::ask::Asker;
use super::convert::{self, count};
use crate::names::Names;

/// One reader's questions. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SyncReader {
    asker: Asker,
    names: Names,
    /// None for all feeds.
    room: Option<Arc<Mutex<Room>>>,
}

/// A room, as far as it was looked at: a long one is not read anew for each answer.
#[derive(Debug)]
struct Room {
    name: String,
    feeds: BTreeSet<Instance>,
    end: Offset,
}

impl SyncReader {
    /// # Errors
    ///
    /// A name that no room can have.
    pub(super) fn new(asker: Asker, names: Names, request: v1::SyncStateRequest) -> Result<Self, Error> {
        let name = request.room;
        let room = match name.as_str() {
            "" => None,
            room if is_room(room) => Some(Arc::new(Mutex::new(Room { name, feeds: BTreeSet::new(), end: Offset(0) }))),
            _ => return Err(convert::refusal(&Refusal::Room(name.chars().take(ROOM_SHOWN_MAX).collect()))),
        };
        Ok(Self { asker, names, room })
    }

    /// The state now.
    pub(super) async fn fetch(self) -> Result<v1::SyncStateResponse, Error> {
        let state = self.asker.ask(Request::SyncState).await?;
        let Some(room) = &self.room else { return Ok(response(state, &self.names)) };
        let mut room = room.lock().await;
        room.look(&self.asker).await?;
        let feeds = state.feeds.into_iter().filter(|feed| room.feeds.contains(&feed.feed)).collect();
        Ok(response(SyncState { feeds, ..state }, &self.names))
    }
}

impl Room {
    /// Reads what was said in it since the last look.
    async fn look(&mut self, asker: &Asker) -> Result<(), Error> {
        let (room, after) = (self.name.clone(), self.end);
        let found = asker.ask_store(|reply| Request::RoomFeeds { room, after, reply }).await?;
        self.feeds.extend(found.feeds);
        self.end = found.end;
        Ok(())
    }
}

fn response(state: SyncState, names: &Names) -> v1::SyncStateResponse {
    v1::SyncStateResponse {
        feeds: state.feeds.into_iter().map(|feed| feed_state(feed, names)).collect(),
        peers: state.peers.iter().map(|peer| peer_sync(peer, names)).collect(),
        digest: hex(&state.digest.fingerprint),
        posts: state.posts,
        missing_posts: state.missing_posts,
        unavailable_posts: state.unavailable_posts,
        synced: state.is_synced,
    }
}

fn feed_state(feed: FeedSync, names: &Names) -> v1::FeedState {
    let called = names.called(&feed.feed.id);
    v1::FeedState {
        author: feed.feed.id.to_string(),
        name: called.name,
        petname: called.petname,
        epoch: feed.feed.epoch.0,
        have: feed.have,
        floor: feed.floor.0,
        head: feed.head.0,
        known_head: feed.known_head.0,
        holes: feed.holes.iter().map(hole).collect(),
        hash: feed.hash.map(|hash| hex(&hash.0[..HASH_BYTES_SHOWN])).unwrap_or_default(),
        agree: count(feed.agree),
        forked: feed.is_forked,
        own: feed.is_own,
    }
}

fn hole(hole: &Hole) -> v1::Hole {
    v1::Hole { from: hole.from.0, to: hole.to.0, unavailable: hole.is_unavailable }
}

fn peer_sync(peer: &PeerSync, names: &Names) -> v1::PeerSync {
    let called = names.called(&peer.peer);
    v1::PeerSync {
        id: peer.peer.to_string(),
        name: called.name,
        petname: called.petname,
        behind: peer.behind,
        ahead: peer.ahead,
        compared: peer.is_compared,
        equal: peer.is_equal,
    }
}

/// Bytes in hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As many as `heads` carries.
const HASH_BYTES_SHOWN: usize = 8;
/// Characters of a bad name in the error about it.
const ROOM_SHOWN_MAX: usize = 64;
