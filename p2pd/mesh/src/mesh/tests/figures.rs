//! What is counted for whoever looks after many peers.

use super::kit::{Peer, addr, chain, content, id, key, pushed, record, repaired, run};
use crate::envelope::{Body, Post, Stamp};
use crate::id::Seq;
use crate::input::DialFailure;
use crate::status::PeerState;
use crate::wire::message::{Message, Pong, VIEW_ID_LEN, View};

#[test]
fn every_dial_is_counted_with_what_came_of_it() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    for failure in [DialFailure::Unreachable, DialFailure::Refused, DialFailure::WrongPeer] {
        peer.run_for(700_000);
        let dial = peer.dial();
        peer.fail_dial(dial, failure);
    }
    for counter in ["dials_unreachable_total", "dials_refused_total", "dials_wrong_peer_total"] {
        assert!(peer.count(counter) > 0, "{counter}");
    }
}

#[test]
fn who_comes_back_is_counted_and_who_comes_first_is_not() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    assert_eq!((peer.count("reconnects_up_total"), peer.mesh.status().links_inbound), (0, 1));
    peer.close(link);
    let status = peer.mesh.status();
    assert_eq!((status.links_inbound, status.links_outbound), (0, 0));
    peer.accept(2);
    assert_eq!(peer.count("reconnects_up_total"), 1);
}

#[test]
fn a_dial_to_somebody_who_was_here_fails_to_bring_him_back() {
    let mut peer = Peer::new(1);
    let dial_to_him = |peer: &mut Peer| {
        peer.run_for(5_000);
        let his = |(dial, _, expected)| (expected == Some(id(2))).then_some(dial);
        peer.dials().into_iter().find_map(his).unwrap()
    };
    let link = peer.accept(2);
    peer.close(link);
    let dial = dial_to_him(&mut peer);
    peer.fail_dial(dial, DialFailure::Unreachable);
    assert_eq!((peer.count("reconnects_failed_total"), peer.count("dials_opened_total")), (1, 0));
    let dial = dial_to_him(&mut peer);
    peer.answer(dial, 2);
    assert_eq!((peer.count("reconnects_up_total"), peer.count("dials_opened_total")), (1, 1));
    assert_eq!(peer.mesh.status().links_outbound, 1);
}

#[test]
fn who_was_never_here_cannot_fail_to_come_back() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(5_000);
    let dial = peer.dial();
    peer.fail_dial(dial, DialFailure::Unreachable);
    assert_eq!((peer.count("reconnects_failed_total"), peer.count("dials_unreachable_total")), (0, 1));
}

#[test]
fn a_heartbeat_that_is_answered_is_a_round_trip() {
    let mut peer = Peer::new(1);
    peer.accept(2);
    peer.converse(2_000, |_, message| content(message));
    let status = peer.mesh.status();
    let up = peer.mesh.peers(peer.now).into_iter().find(|other| other.id == Some(id(2))).unwrap();
    assert_eq!(up.state, PeerState::Up);
    assert!(status.rtt.count() > 0);
    assert_eq!(status.rtt.sum_us() / status.rtt.count(), up.rtt_us.unwrap());
}

#[test]
fn a_delivery_is_timed_by_its_authors_clock_and_one_that_was_fetched_is_not() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    let posts = chain(2, 1, 3, &["hello"]);
    peer.hear(link, &repaired(&posts[..1]));
    assert_eq!((peer.mesh.status().delivery.count(), peer.count("sync_posts_total")), (0, 1));
    peer.run_for(40);
    peer.hear(link, &pushed(&posts[1..2]));
    let delivery = peer.mesh.status().delivery;
    assert_eq!((delivery.count(), peer.count("sync_posts_total")), (1, 1));
    assert_eq!(delivery.sum_us(), (peer.now.unix_ms - posts[1].body().at.ms) * 1_000);
}

#[test]
fn k_01_a_delivery_is_timed_right_when_its_authors_clock_is_wrong() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    // Its clock is an hour behind ours, as each of its pongs shows.
    let hour_ms = 3_600_000;
    peer.run_for(hour_ms);
    let link = if peer.mesh.status().links_inbound == 1 { link } else { peer.accept(2) };
    peer.converse(2_000, |_, message| match message {
        Message::Ping(ping) => {
            vec![Message::Pong(Pong { n: ping.n, t: ping.t, r: ping.t - hour_ms, digest: ping.digest })]
        }
        _ => Vec::new(),
    });
    let sent_ms = peer.now.unix_ms - hour_ms;
    let body = Body {
        feed: run(2),
        first: Seq(1),
        prev: None,
        at: Stamp { ms: sent_ms, counter: 0 },
        posts: vec![Post::chat("general", "x")],
    };
    peer.hear(link, &pushed(&[body.sign(&key(2))]));
    let delivery = peer.mesh.status().delivery;
    assert_eq!(delivery.count(), 1);
    assert!(delivery.sum_us() < 1_000_000, "{} us", delivery.sum_us());
}

#[test]
fn the_graph_tells_what_linked_peers_say_of_their_links() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.accept(3);
    peer.hear(link, &Message::Peers(vec![record(4)]));
    let view_id = |n: u8| id(n).to_string()[..VIEW_ID_LEN].to_owned();
    let neighbors = [1, 3, 4, 9].map(view_id).into();
    peer.hear(link, &Message::View(View { full: true, neighbors, estimate: 4 }));
    let graph = peer.mesh.graph();
    assert_eq!(graph.peers[0].id, id(1), "we come first");
    let of = |n: u8| graph.peers.iter().find(|peer| peer.id == id(n)).unwrap();
    assert_eq!(of(1).neighbors, Some([id(2), id(3)].into()));
    assert_eq!((of(2).neighbors.clone(), of(2).strangers), (Some([id(1), id(3), id(4)].into()), 1));
    assert_eq!(of(3).neighbors, Some([].into()), "it said nothing yet");
    assert_eq!(of(4).neighbors, None, "it is not linked to us");
    assert_eq!(graph.peers.len(), 4);
}
