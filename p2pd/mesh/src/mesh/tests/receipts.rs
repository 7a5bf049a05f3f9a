//! Who holds what: told by announcements, remembered when a link goes, corrected when somebody lost something.

use super::kit::{EPOCH, Peer, at, chain, config, content, hello, id, other_digest, pushed, record, run};
use super::newest::retained;
use crate::effect::Event;
use crate::envelope::VerifiedEnvelope;
use crate::id::{Epoch, Instance, LinkId, PostId, Seq};
use crate::input::Command;
use crate::status::{HolderState, PeerSync, Receipt};
use crate::wire::message::{Digest, Have, Head, Heads, Hello, Message, Ping, Pong};

/// A post of this peer's own run.
fn own(seq: u64) -> PostId {
    PostId { feed: run(1), seq: Seq(seq) }
}

fn have(feed: Instance, floor: u64, head: u64) -> Message {
    Message::Have(vec![Have { feed: feed.feed_id(), head: Seq(head), floor: Seq(floor) }])
}

fn receipt(peer: &Peer, post: PostId) -> Receipt {
    peer.mesh.receipts(&[post], peer.now).remove(0)
}

/// What is known of peer `n` and a post.
#[track_caller]
fn state(peer: &Peer, post: PostId, n: u8) -> HolderState {
    let receipt = receipt(peer, post);
    receipt.holders.iter().find(|holder| holder.peer == id(n)).expect("the peer is known").state
}

fn sync_of(peer: &Peer, n: u8) -> PeerSync {
    *peer.mesh.sync_state().peers.iter().find(|sync| sync.peer == id(n)).expect("the peer is linked")
}

fn behind(peer: &Peer, n: u8) -> u64 {
    peer.mesh.peers(peer.now).iter().find(|status| status.id == Some(id(n))).expect("the peer is known").behind
}

/// A peer whose greeting with these is over, and that then said some posts.
fn said(others: &[u8], posts: usize) -> (Peer, Vec<LinkId>) {
    let mut peer = Peer::new(1);
    let links = others.iter().map(|n| peer.accept(*n)).collect();
    peer.converse(2_000, |_, message| content(message));
    (0..posts).for_each(|n| peer.say(&n.to_string()));
    peer.take_all_said();
    (peer, links)
}

/// Says that it holds the same.
fn equal(peer: &mut Peer, link: LinkId) {
    let digest = peer.mesh.status().digest;
    peer.hear(link, &Message::Ping(Ping { n: 1, t: 0, digest }));
}

#[test]
fn a_receipt_goes_from_linked_over_sent_to_holds() {
    let (mut peer, links) = said(&[2], 0);
    peer.block(links[0]);
    let big = "x".repeat(16_000);
    (0..8).for_each(|_| peer.say(&big));
    assert_eq!(state(&peer, own(1), 2), HolderState::Sent);
    assert_eq!(state(&peer, own(8), 2), HolderState::Linked, "its socket takes no more");
    peer.unblock(links[0]);
    assert_eq!(state(&peer, own(8), 2), HolderState::Sent);
    peer.hear(links[0], &have(run(1), 1, 7));
    assert_eq!(state(&peer, own(7), 2), HolderState::Holds);
    assert_eq!(state(&peer, own(8), 2), HolderState::Sent);
}

#[test]
fn who_is_away_and_said_nothing_is_away_and_who_held_it_before_still_holds_it() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(4), 77)]);
    let link = peer.accept(2);
    peer.say("a");
    assert_eq!(receipt(&peer, own(1)).holders.iter().find(|holder| holder.peer == id(4)).unwrap().last_seen_ms, 77);
    assert_eq!(state(&peer, own(1), 4), HolderState::Away);
    peer.hear(link, &have(run(1), 1, 1));
    peer.close(link);
    peer.say("b");
    assert_eq!(state(&peer, own(1), 2), HolderState::Holds);
    assert_eq!(state(&peer, own(2), 2), HolderState::Away);
    assert_eq!(peer.mesh.status().unacked_own_posts, 1);
    peer.command(Command::ForgetPeer(id(2)));
    assert!(receipt(&peer, own(1)).holders.iter().all(|holder| holder.peer == id(4)));
    assert_eq!(peer.mesh.status().unacked_own_posts, 2);
}

#[test]
fn a_raised_floor_takes_back_what_stood_below_it_on_this_link_and_the_next() {
    let (mut peer, links) = said(&[2], 3);
    peer.hear(links[0], &have(run(1), 1, 3));
    assert_eq!((state(&peer, own(1), 2), behind(&peer, 2)), (HolderState::Holds, 0));
    peer.hear(links[0], &Message::Gone { feed: run(1).feed_id(), floor: Seq(3) });
    let check = |peer: &Peer| {
        assert_ne!(state(peer, own(2), 2), HolderState::Holds);
        assert_eq!(state(peer, own(3), 2), HolderState::Holds);
        assert_eq!((behind(peer, 2), peer.mesh.status().unacked_own_posts), (2, 2));
    };
    check(&peer);
    peer.close(links[0]);
    check(&peer);
    let again = peer.accept(2);
    check(&peer);
    // Floors are not part of the digest, so whoever has one tells it then.
    equal(&mut peer, again);
    peer.hear(again, &have(run(1), 3, 3));
    check(&peer);
}

#[test]
fn equal_digests_are_a_receipt_for_everything() {
    let mut peer = Peer::new(1);
    (0..3).for_each(|n| peer.say(&n.to_string()));
    let link = peer.accept(2);
    assert_eq!((state(&peer, own(3), 2), peer.mesh.status().unacked_own_posts), (HolderState::Linked, 3));
    equal(&mut peer, link);
    assert_eq!((state(&peer, own(3), 2), peer.mesh.status().unacked_own_posts), (HolderState::Holds, 0));
    assert_eq!(peer.mesh.sync_state().feeds[0].agree, 1);
}

#[test]
fn whoever_lost_its_disk_holds_only_what_it_names() {
    let (mut peer, links) = said(&[2], 2);
    let theirs = chain(2, EPOCH.0, 1, &["x"]);
    peer.hear(links[0], &pushed(&theirs));
    peer.hear(links[0], &have(run(1), 1, 2));
    peer.close(links[0]);
    let wrote = PostId { feed: run(2), seq: Seq(1) };
    assert_eq!((state(&peer, own(2), 2), state(&peer, wrote, 2)), (HolderState::Holds, HolderState::Holds));
    let again = peer.accept_hello(2, Hello { epoch: Epoch(EPOCH.0 + 1), ..hello(2) });
    peer.converse(100, |_, message| match message {
        Message::Ping(ping) => vec![other_digest(ping)],
        Message::Heads(_) => vec![Message::Heads(Heads { part: 0, of: 1, heads: Vec::new() })],
        _ => Vec::new(),
    });
    assert_eq!((state(&peer, own(2), 2), state(&peer, wrote, 2)), (HolderState::Linked, HolderState::Linked));
    assert_eq!(peer.mesh.status().unacked_own_posts, 2);
    peer.close(again);
}

#[test]
fn runs_of_one_identity_are_one_peer() {
    let (mut peer, links) = said(&[2], 1);
    let other = peer.accept_hello(2, Hello { epoch: Epoch(EPOCH.0 + 1), ..hello(2) });
    assert_eq!(receipt(&peer, own(1)).holders.len(), 1);
    peer.hear(other, &have(run(1), 1, 1));
    assert_eq!(state(&peer, own(1), 2), HolderState::Holds);
    peer.close(links[0]);
    peer.close(other);
    assert_eq!(state(&peer, own(1), 2), HolderState::Holds);
}

#[test]
fn another_machine_with_our_own_identity_is_no_other_peer() {
    let (mut peer, _) = said(&[], 1);
    let link = peer.accept_hello(1, Hello { epoch: Epoch(EPOCH.0 + 1), ..hello(1) });
    peer.hear(link, &have(run(1), 1, 1));
    assert_eq!(receipt(&peer, own(1)).holders, []);
    assert_eq!(peer.mesh.status().unacked_own_posts, 1);
}

#[test]
fn the_author_holds_what_it_wrote_also_where_others_brought_it() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(3), 0)]);
    let link = peer.accept(2);
    peer.hear(link, &pushed(&chain(3, EPOCH.0, 1, &["x"])));
    let post = PostId { feed: run(3), seq: Seq(1) };
    assert_eq!(state(&peer, post, 3), HolderState::Holds);
    assert_eq!(state(&peer, PostId { seq: Seq(2), ..post }, 3), HolderState::Away);
    assert!(receipt(&peer, post).held);
    assert!(!receipt(&peer, PostId { seq: Seq(2), ..post }).held);
}

#[test]
fn earlier_runs_of_ours_count_and_another_s_do_not() {
    let mut disk: Vec<VerifiedEnvelope> = chain(1, 5, 2, &["mine"]);
    disk.extend(chain(1, 6, 1, &["mine"]));
    disk.extend(chain(3, 6, 4, &["not mine"]));
    let mut peer = Peer::start(1, config(1), &disk, Vec::new());
    assert_eq!(peer.mesh.status().unacked_own_posts, 3);
    let link = peer.accept(2);
    peer.hear(link, &have(disk[0].feed(), 1, 2));
    assert_eq!(peer.mesh.status().unacked_own_posts, 1);
}

#[test]
fn what_is_missing_is_told_by_who_can_still_give_it() {
    let (mut peer, links) = said(&[2, 3], 0);
    let feed = chain(4, EPOCH.0, 2, &["x"]);
    peer.hear(links[0], &pushed(&feed[..1]));
    peer.hear(links[0], &have(run(4), 1, 3));
    peer.hear(links[1], &have(run(4), 1, 9));
    peer.close(links[1]);
    let sync = peer.mesh.sync_state();
    let state = &sync.feeds[0];
    assert_eq!((state.have, state.floor, state.head, state.known_head), (1, Seq(1), Seq(1), Seq(9)));
    let holes: Vec<_> = state.holes.iter().map(|hole| (hole.from.0, hole.to.0, hole.is_unavailable)).collect();
    assert_eq!(holes, [(2, 3, false), (4, 9, true)]);
    assert_eq!((sync.missing_posts, sync.unavailable_posts, sync.is_synced), (2, 6, false));
    assert_eq!(peer.mesh.status().unavailable_posts, 6);
    let PeerSync { behind, ahead, .. } = sync_of(&peer, 2);
    assert_eq!((behind, ahead), (0, 2));
    assert_eq!(state.agree, 1);
}

#[test]
fn a_user_who_asks_for_it_is_told_only_what_was_compared_since() {
    let (mut peer, links) = said(&[2], 0);
    assert!(peer.mesh.sync_state().is_synced);
    let old = Message::Ping(Ping { n: 1, t: 0, digest: peer.mesh.status().digest });
    peer.command(Command::Sync);
    assert_eq!(peer.mesh.linked_len(), 1);
    let said = peer.said(links[0]);
    let [Message::Ping(ping)] = &said[..] else { panic!("{said:?}") };
    let check = |peer: &Peer, is_synced, is_compared, is_equal| {
        let state = sync_of(peer, 2);
        let all = (peer.mesh.sync_state().is_synced, state.is_compared, state.is_equal);
        assert_eq!(all, (is_synced, is_compared, is_equal));
    };
    peer.hear(links[0], &old);
    peer.hear(links[0], &Message::Pong(Pong { n: ping.n - 1, t: 0, r: 0, digest: ping.digest }));
    check(&peer, false, false, false);
    peer.take_all_said();
    peer.hear(links[0], &other_digest(ping));
    check(&peer, false, true, false);
    assert!(peer.said(links[0]).iter().any(|message| matches!(message, Message::Heads(_))), "at once");
    // What the other side names is missing until it is here.
    let feed = chain(4, EPOCH.0, 1, &["x"]);
    let hash = feed[0].hash().0[..8].try_into().unwrap();
    let head = Head { feed: run(4), floor: Seq(1), head: Seq(1), hash };
    peer.hear(links[0], &Message::Heads(Heads { part: 0, of: 1, heads: vec![head] }));
    check(&peer, false, true, false);
    peer.hear(links[0], &pushed(&feed));
    check(&peer, true, true, false);
    equal(&mut peer, links[0]);
    check(&peer, true, true, true);
}

#[test]
fn a_link_that_was_never_compared_leaves_everything_open() {
    let mut peer = Peer::new(1);
    assert!(peer.mesh.sync_state().is_synced, "nobody is there to differ from");
    let link = peer.accept(2);
    let other = Digest { fingerprint: [9; 16], feeds: 1, holes: 0 };
    assert!(!peer.mesh.sync_state().is_synced);
    peer.hear(link, &Message::Ping(Ping { n: 1, t: 0, digest: other }));
    assert!(!peer.mesh.sync_state().is_synced);
    peer.hear(link, &Message::Heads(Heads { part: 0, of: 2, heads: Vec::new() }));
    assert!(!peer.mesh.sync_state().is_synced, "half of its heads");
    peer.hear(link, &Message::Heads(Heads { part: 1, of: 2, heads: Vec::new() }));
    assert!(peer.mesh.sync_state().is_synced);
}

#[test]
fn a_forked_feed_is_told_and_counted_for_its_author() {
    let (mut peer, links) = said(&[2], 0);
    peer.hear(links[0], &pushed(&chain(3, EPOCH.0, 2, &["x"])));
    peer.hear(links[0], &Message::Peers(vec![record(3)]));
    peer.hear(links[0], &pushed(&chain(3, EPOCH.0, 2, &["y"])));
    assert!(peer.events().iter().any(|event| matches!(event, Event::ForkSeen { .. })));
    let sync = peer.mesh.sync_state();
    assert!(sync.feeds[0].is_forked && !sync.feeds[0].is_own);
    assert_eq!(peer.mesh.peers(at(9_000)).iter().find(|status| status.id == Some(id(3))).unwrap().forks, 1);
}

#[test]
fn two_peers_with_holes_are_synced_only_when_each_named_what_it_can_give() {
    let feed = chain(3, 7, 6, &["x"]);
    let mut peer = Peer::start(1, config(1), &feed[3..], Vec::new());
    let link = peer.accept(2);
    let equal = |peer: &mut Peer| equal(peer, link);
    equal(&mut peer);
    let sync = sync_of(&peer, 2);
    assert_eq!((sync.is_compared, sync.is_equal, peer.mesh.sync_state().is_synced), (true, false, false));
    let hash = feed[5].hash().0[..8].try_into().unwrap();
    let head = Head { feed: feed[0].feed(), floor: Seq(5), head: Seq(6), hash };
    peer.hear(link, &Message::Heads(Heads { part: 0, of: 1, heads: vec![head] }));
    assert!(peer.mesh.sync_state().is_synced);
    let holes: Vec<_> = peer.mesh.sync_state().feeds[0].holes.iter().map(|hole| (hole.from.0, hole.to.0)).collect();
    assert_eq!((holes, peer.mesh.sync_state().unavailable_posts), (vec![(1, 3)], 3));
    assert_eq!(sync_of(&peer, 2).behind, 1, "number 4 is below its floor");
    equal(&mut peer);
    assert!(sync_of(&peer, 2).is_equal);
}

#[test]
fn a_floor_that_sank_while_nobody_was_linked_is_not_believed_for_ever() {
    let (mut peer, links) = said(&[2], 3);
    peer.hear(links[0], &have(run(1), 3, 3));
    peer.close(links[0]);
    assert_eq!(state(&peer, own(1), 2), HolderState::Away);
    let again = peer.accept(2);
    equal(&mut peer, again);
    assert_eq!(state(&peer, own(1), 2), HolderState::Holds);
}

#[test]
fn who_dropped_what_is_old_is_not_behind_and_who_has_yet_to_fetch_it_is() {
    let (mut peer, links) = said(&[2], 3);
    peer.hear(links[0], &have(run(1), 3, 3));
    assert_eq!(behind(&peer, 2), 2, "the rest may be on its way");
    equal(&mut peer, links[0]);
    assert_eq!(behind(&peer, 2), 0, "it misses nothing");
    assert_ne!(state(&peer, own(1), 2), HolderState::Holds);
    peer.say("more");
    assert_eq!(behind(&peer, 2), 1);
}

#[test]
fn with_equal_digests_floors_that_were_not_told_are_told_once() {
    let feed = chain(3, 7, 6, &["x"]);
    let mut peer = Peer::start(1, config(1), &feed, Vec::new());
    let floors = |peer: &mut Peer, link| {
        let said = peer.said(link);
        let haves = said.into_iter().filter_map(|message| match message {
            Message::Have(haves) => Some(haves.into_iter().map(|have| have.floor.0).collect::<Vec<_>>()),
            _ => None,
        });
        haves.flatten().collect::<Vec<u64>>()
    };
    let link = peer.accept(2);
    peer.converse(1_000, |_, message| content(message));
    assert_eq!(floors(&mut peer, link), [0; 0], "everything is there");
    peer.handle(retained(&feed[3..]));
    peer.run_for(200);
    assert_eq!(floors(&mut peer, link), [4]);
    peer.close(link);
    let again = peer.accept(2);
    let mut told = Vec::new();
    peer.converse(100_000, |_, message| {
        told.extend(match message {
            Message::Have(haves) => haves.iter().map(|have| have.floor.0).collect(),
            _ => Vec::new(),
        });
        content(message)
    });
    assert_eq!((told, floors(&mut peer, again)), (vec![4], Vec::new()));
}
