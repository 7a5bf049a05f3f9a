//! Receipts and the state of the sync.

use p2p_mesh::id::{Epoch, Hash, Instance, Offset, Seq};
use p2p_mesh::status::{FeedSync, Holder, HolderState, Hole, PeerState, PeerSync, SyncState};
use p2p_mesh::wire::message::Digest;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use tonic::Streaming;

use super::kit::{Daemon, OWN, guarded, id, peer};
use crate::names::NoteChange;

fn post(author: u8, seq: u64) -> v1::PostId {
    v1::PostId { author: id(author).to_string(), epoch: 7, seq }
}

fn holder(author: u8, state: HolderState, last_seen_ms: u64) -> Holder {
    Holder { peer: id(author), state, last_seen_ms }
}

async fn receipts(
    daemon: &Daemon,
    ids: Vec<v1::PostId>,
    follow: bool,
) -> Result<Streaming<v1::ReceiptsResponse>, Error> {
    Ok(daemon.client().await.chat().receipts(v1::ReceiptsRequest { ids, follow }).await?.into_inner())
}

async fn next<T>(stream: &mut Streaming<T>) -> Option<T> {
    guarded(stream.message()).await.unwrap()
}

#[tokio::test]
async fn a_receipt_names_every_peer_once_and_the_stream_ends() {
    let daemon = Daemon::start().await;
    daemon.arrive(OWN, "general", &["a"]);
    daemon.subscribers.names().set(id(2), "bob");
    let boss = NoteChange { petname: Some("boss".into()), is_blocked: None };
    daemon.subscribers.names().note(id(2), boss).unwrap();
    daemon.world.lock().holders = vec![holder(2, HolderState::Holds, 9), holder(3, HolderState::Away, 0)];
    let mut stream = receipts(&daemon, vec![post(OWN, 1), post(4, 8)], false).await.unwrap();
    let holders = vec![
        v1::Holder {
            peer: id(2).to_string(),
            name: "bob".into(),
            state: v1::HolderState::Holds.into(),
            last_seen_us: 9_000,
            petname: "boss".into(),
        },
        v1::Holder { peer: id(3).to_string(), state: v1::HolderState::Away.into(), ..v1::Holder::default() },
    ];
    let held = v1::Receipt { id: Some(post(OWN, 1)), held: true, holders: holders.clone() };
    let unknown = v1::Receipt { id: Some(post(4, 8)), held: false, holders };
    assert_eq!(next(&mut stream).await, Some(v1::ReceiptsResponse { receipts: vec![held, unknown] }));
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn who_follows_hears_of_each_change_and_of_nothing_else_until_the_daemon_stops() {
    let daemon = Daemon::start().await;
    daemon.world.lock().holders = vec![holder(2, HolderState::Linked, 1)];
    let mut stream = receipts(&daemon, vec![post(OWN, 1)], true).await.unwrap();
    let state = |response: Option<v1::ReceiptsResponse>| {
        let receipts = response.expect("the stream goes on").receipts;
        receipts[0].holders[0].state()
    };
    assert_eq!(state(next(&mut stream).await), v1::HolderState::Linked);
    // That something else came from a peer is no news of a post: the next answer is the next state.
    daemon.world.lock().holders[0].last_seen_ms = 2;
    for (now, then) in [(HolderState::Sent, v1::HolderState::Sent), (HolderState::Holds, v1::HolderState::Holds)] {
        daemon.world.until(|_| true).await;
        daemon.world.lock().holders[0].state = now;
        assert_eq!(state(next(&mut stream).await), then);
    }
    daemon.stop.cancel();
    let status = guarded(stream.message()).await.unwrap_err();
    assert_eq!(Error::from(status).code, Code::Stopping);
}

#[tokio::test]
async fn more_receipts_than_one_answer_holds_are_refused_with_the_numbers() {
    let daemon = Daemon::start().await;
    let ids = |count: u64| (1..=count).map(|seq| post(OWN, seq)).collect::<Vec<_>>();
    let mut stream = receipts(&daemon, ids(256), false).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().receipts.len(), 256);
    let error = receipts(&daemon, ids(257), true).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "receipts of 257 messages were asked for, the limit is 256");
    let nobody = v1::PostId { author: "alice".into(), epoch: 7, seq: 1 };
    assert_eq!(receipts(&daemon, vec![nobody], false).await.unwrap_err().code, Code::InvalidArgument);
    let error = receipts(&daemon, vec![post(OWN, 1 << 53)], false).await.unwrap_err();
    assert_eq!(error.message, "seq 9007199254740992 of a post that was asked for is over the limit of 2^53 - 1");
}

fn feed(author: u8, agree: usize) -> FeedSync {
    FeedSync {
        feed: Instance { id: id(author), epoch: Epoch(7) },
        have: 4,
        floor: Seq(2),
        head: Seq(5),
        known_head: Seq(9),
        holes: vec![Hole { from: Seq(6), to: Seq(9), is_unavailable: true }],
        hash: Some(Hash([0xcd; 32])),
        agree,
        is_forked: true,
        is_own: author == OWN,
    }
}

fn sync() -> SyncState {
    let peer = PeerSync { peer: id(2), behind: 1, ahead: 2, is_compared: true, is_equal: false };
    SyncState {
        feeds: vec![feed(OWN, 1), feed(2, 1)],
        peers: vec![peer],
        digest: Digest { fingerprint: [0xab; 16], feeds: 2, holes: 0 },
        posts: 8,
        missing_posts: 3,
        unavailable_posts: 4,
        is_synced: true,
    }
}

fn in_room(room: &str) -> v1::SyncStateRequest {
    v1::SyncStateRequest { room: room.into() }
}

#[tokio::test]
async fn the_state_of_the_sync_tells_all_that_is_known() {
    let daemon = Daemon::start().await;
    daemon.subscribers.names().set(id(2), "bob");
    let boss = NoteChange { petname: Some("boss".into()), is_blocked: None };
    daemon.subscribers.names().note(id(2), boss).unwrap();
    daemon.world.lock().sync = SyncState { feeds: vec![feed(2, 1)], ..sync() };
    let state = daemon.client().await.mesh().sync_state(in_room("")).await.unwrap().into_inner();
    let feed = v1::FeedState {
        author: id(2).to_string(),
        name: "bob".into(),
        epoch: 7,
        have: 4,
        floor: 2,
        head: 5,
        known_head: 9,
        holes: vec![v1::Hole { from: 6, to: 9, unavailable: true }],
        hash: "cd".repeat(8),
        agree: 1,
        forked: true,
        own: false,
        petname: "boss".into(),
    };
    let peer = v1::PeerSync {
        id: id(2).to_string(),
        name: "bob".into(),
        petname: "boss".into(),
        behind: 1,
        ahead: 2,
        compared: true,
        equal: false,
    };
    let expected = v1::SyncStateResponse {
        feeds: vec![feed],
        peers: vec![peer],
        digest: "ab".repeat(16),
        posts: 8,
        missing_posts: 3,
        unavailable_posts: 4,
        synced: true,
    };
    assert_eq!(state, expected);
}

#[tokio::test]
async fn the_sync_of_a_room_shows_who_spoke_there_and_reads_each_part_of_it_once() {
    let daemon = Daemon::start().await;
    daemon.arrive(OWN, "general", &["a"]);
    daemon.world.lock().sync = sync();
    let mut stream = daemon.client().await.mesh().watch_sync_state(in_room("general")).await.unwrap().into_inner();
    let authors = |state: Option<v1::SyncStateResponse>| {
        let state = state.expect("the stream goes on");
        assert_eq!((state.posts, state.peers.len()), (8, 1), "the sums are those of all rooms");
        state.feeds.into_iter().map(|feed| feed.author).collect::<Vec<_>>()
    };
    assert_eq!(authors(next(&mut stream).await), [id(OWN).to_string()]);
    daemon.arrive(2, "rust", &["b"]);
    daemon.arrive(2, "general", &["c"]);
    assert_eq!(authors(next(&mut stream).await), [id(OWN).to_string(), id(2).to_string()]);
    let looks = daemon.world.lock().room_looks.clone();
    assert_eq!(looks[0].0, Offset(0));
    assert!(looks.windows(2).all(|pair| pair[1].0 == pair[0].1), "{looks:?}");
    daemon.stop.cancel();
    assert_eq!(Error::from(guarded(stream.message()).await.unwrap_err()).code, Code::Stopping);
}

#[tokio::test]
async fn a_room_that_cannot_be_is_refused_and_one_that_nobody_spoke_in_is_empty() {
    let daemon = Daemon::start().await;
    daemon.world.lock().sync = sync();
    let mut mesh = daemon.client().await.mesh();
    assert!(mesh.sync_state(in_room("silence")).await.unwrap().into_inner().feeds.is_empty());
    let errors = [
        mesh.sync_state(in_room("No Room")).await.unwrap_err(),
        mesh.watch_sync_state(in_room("No Room")).await.unwrap_err(),
    ];
    for error in errors.map(Error::from) {
        assert_eq!(error.code, Code::RoomInvalid);
        assert!(error.message.starts_with("\"No Room\" is no room"), "{}", error.message);
    }
}

#[tokio::test]
async fn sync_compares_with_everybody_and_says_how_many_they_are() {
    let daemon = Daemon::start().await;
    daemon.world.lock().peers = vec![peer(2, PeerState::Up), peer(3, PeerState::Up)];
    let answer = daemon.client().await.mesh().sync(v1::SyncRequest {}).await.unwrap().into_inner();
    assert_eq!((answer.peers, daemon.world.lock().syncs), (2, 1));
}
