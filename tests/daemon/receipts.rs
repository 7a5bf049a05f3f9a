//! Who holds what: told by real daemons that come, go, stop and come back.

use p2p_proto::client::Client;
use p2p_proto::v1::{self, HolderState};
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use tonic::Streaming;

/// Says something, and gives its id.
#[track_caller]
fn say(peer: &TestPeer, text: &str) -> v1::PostId {
    let post = Some(v1::Outgoing { text: text.into(), ..v1::Outgoing::default() });
    let sent = peer.ask(async |client| client.chat().send(v1::SendRequest { post }).await.expect("it is sent"));
    sent.into_inner().id.expect("a post that was sent has an id")
}

async fn open(client: &Client, id: v1::PostId, follow: bool) -> Streaming<v1::ReceiptsResponse> {
    let request = v1::ReceiptsRequest { ids: vec![id], follow };
    client.chat().receipts(request).await.expect("a stream").into_inner()
}

async fn next(stream: &mut Streaming<v1::ReceiptsResponse>) -> v1::Receipt {
    let response = stream.message().await.expect("a stream without an error").expect("the stream goes on");
    response.receipts.into_iter().next().expect("a receipt for the id")
}

/// Reads on until the receipt is as it should be.
async fn until(stream: &mut Streaming<v1::ReceiptsResponse>, mut is_so: impl FnMut(&v1::Receipt) -> bool) {
    while !is_so(&next(stream).await) {}
}

fn state_of(receipt: &v1::Receipt, peer: &TestPeer) -> HolderState {
    receipt.holders.iter().find(|holder| holder.peer == peer.id()).map_or(HolderState::Unspecified, v1::Holder::state)
}

/// The receipt now.
#[track_caller]
fn receipt(at: &TestPeer, id: &v1::PostId) -> v1::Receipt {
    at.ask(async |client| next(&mut open(&client, id.clone(), false).await).await)
}

#[track_caller]
fn sync_state(at: &TestPeer) -> v1::SyncStateResponse {
    let request = v1::SyncStateRequest::default();
    at.ask(async |client| client.mesh().sync_state(request).await.expect("a state").into_inner())
}

#[test]
fn everybody_who_got_a_post_is_a_holder_and_whoever_was_killed_becomes_one_when_it_is_back() {
    let network = Network::new();
    let [one, two, mut three] = network.start_three();
    let id = say(&one, "to all");
    one.ask(async |client| {
        let mut stream = open(&client, id, true).await;
        until(&mut stream, |receipt| {
            assert!(receipt.held);
            receipt.holders.len() == 2 && receipt.holders.iter().all(|holder| holder.state() == HolderState::Holds)
        })
        .await;
    });
    // Those that did not say it know it as well.
    eventually(PATIENCE, "the third knows of the second", || {
        let id = v1::PostId { author: one.id().into(), epoch: one.status().epoch, seq: 1 };
        state_of(&receipt(&three, &id), &two) == HolderState::Holds
    });

    three.kill_9();
    eventually(PATIENCE, "the link is gone", || one.status().peers_up == 1);
    let missed = say(&one, "to those who are there");
    one.ask(async |client| {
        let mut stream = open(&client, missed, true).await;
        until(&mut stream, |receipt| state_of(receipt, &two) == HolderState::Holds).await;
        let first =
            next(&mut open(&client, v1::PostId { author: one.id().into(), epoch: 1, seq: 1 }, false).await).await;
        assert!(!first.held && first.holders.iter().all(|holder| holder.state() != HolderState::Holds), "{first:?}");
        // The same stream goes on while the third one comes back.
        let restart = std::thread::scope(|scope| scope.spawn(|| three.restart()).join());
        restart.expect("it starts again");
        let mut seen = Vec::new();
        until(&mut stream, |receipt| {
            seen.push(state_of(receipt, &three));
            seen.last() == Some(&HolderState::Holds)
        })
        .await;
    });
    assert_eq!(three.posts().len(), 2);
    assert_eq!(one.posts().len(), 2, "nothing was said again");
}

#[test]
fn whoever_is_away_is_shown_as_away_and_since_when() {
    let network = Network::new();
    let [one, two, mut three] = network.start_three();
    three.kill_9();
    eventually(PATIENCE, "the link is gone", || one.status().peers_up == 1);
    let id = say(&one, "x");
    eventually(PATIENCE, "the second holds it", || state_of(&receipt(&one, &id), &two) == HolderState::Holds);
    let receipt = receipt(&one, &id);
    assert_eq!(state_of(&receipt, &three), HolderState::Away);
    assert!(receipt.holders.iter().all(|holder| holder.last_seen_us > 0), "{receipt:?}");
    let behind = |name: &str| one.peers().into_iter().find(|peer| peer.name == name).unwrap().behind;
    eventually(PATIENCE, "the second is not behind", || behind("two") == 0);
    assert_eq!(behind("three"), 1);
}

#[test]
fn a_peer_that_stands_still_is_handed_a_post_and_is_no_holder_of_it() {
    let network = Network::new();
    let [one, two, three] = network.start_three();
    three.pause();
    let id = say(&one, "x");
    eventually(PATIENCE, "the second holds it", || state_of(&receipt(&one, &id), &two) == HolderState::Holds);
    // Its link dies after a while, but not so soon.
    assert_eq!(state_of(&receipt(&one, &id), &three), HolderState::Sent);
    three.resume();
    eventually(PATIENCE, "it goes on", || state_of(&receipt(&one, &id), &three) == HolderState::Holds);
}

#[test]
fn what_was_said_alone_is_unacknowledged_until_somebody_comes_also_after_a_restart() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    drop(say(&one, "into the dark"));
    assert_eq!(one.status().unacked_own_posts, 1);
    one.restart();
    drop(say(&one, "again"));
    assert_eq!(one.status().unacked_own_posts, 2, "of all runs");
    let two = network.start("two", &[&one]);
    eventually(PATIENCE, "somebody holds it", || one.status().unacked_own_posts == 0);
    assert_eq!(two.status().unacked_own_posts, 0);
    one.restart();
    eventually(PATIENCE, "equal digests tell it", || {
        let status = one.status();
        status.peers_up == 1 && status.unacked_own_posts == 0
    });
}

#[test]
fn equal_peers_have_one_digest_agree_on_every_feed_and_are_synced() {
    let network = Network::new();
    let peers = network.start_three();
    for peer in &peers {
        drop(say(peer, "x"));
    }
    for peer in &peers {
        let is_equal = || {
            let state = sync_state(peer);
            let agree =
                state.feeds.len() == 3 && state.feeds.iter().all(|feed| feed.agree == 2 && feed.holes.is_empty());
            agree && state.synced && state.peers.iter().all(|other| other.behind + other.ahead == 0 && other.compared)
        };
        eventually(PATIENCE, "all agree", is_equal);
    }
    let states = peers.each_ref().map(sync_state);
    assert!(states.iter().all(|state| state.digest == states[0].digest && state.posts == 3), "{states:?}");
    let own: Vec<_> = states[0].feeds.iter().filter(|feed| feed.own).map(|feed| feed.author.as_str()).collect();
    assert_eq!(own, [peers[0].id()]);
    let hashes = states.each_ref().map(|state| state.feeds.iter().map(|feed| feed.hash.clone()).collect::<Vec<_>>());
    assert!(hashes[0] == hashes[1] && hashes[1] == hashes[2] && hashes[0].iter().all(|hash| hash.len() == 16));
}

#[test]
fn sync_now_compares_with_everybody_and_not_with_the_next_heartbeat() {
    let network = Network::new();
    let slow = |name: &str, dials: Vec<String>| Options {
        name: name.into(),
        dials,
        env: vec![("P2P_HEARTBEAT_INTERVAL".into(), "1h".into())],
        ..Options::default()
    };
    let one = network.start_with(slow("one", Vec::new()));
    let two = network.start_with(slow("two", vec![one.addr()]));
    one.wait_for_peers(1);
    drop(say(&two, "x"));
    eventually(PATIENCE, "it arrived", || one.status().posts == 1);
    one.ask(async |client| {
        let mut mesh = client.mesh();
        assert_eq!(mesh.sync(v1::SyncRequest {}).await.expect("it is asked").into_inner().peers, 1);
        let mut stream = mesh.watch_sync_state(v1::SyncStateRequest::default()).await.expect("a stream").into_inner();
        loop {
            let state = stream.message().await.expect("no error").expect("the stream goes on");
            if state.synced && state.peers.iter().all(|peer| peer.equal) {
                return;
            }
        }
    });
}
