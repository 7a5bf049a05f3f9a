//! Only so many feeds are asked for through one link at a time; those that wait have their turn, whatever happens.

use std::collections::BTreeSet;

use super::disk::Mood;
use super::hostile::linked;
use super::kit::{Peer, chain, content, repaired};
use crate::envelope::VerifiedEnvelope;
use crate::id::{FeedId, LinkId, Seq};
use crate::input::Input;
use crate::limits::REPAIRS_PER_LINK_MAX;
use crate::wire::message::{Have, Message};

fn feeds(count: u64) -> Vec<Vec<VerifiedEnvelope>> {
    (1..=count).map(|epoch| chain(3, epoch, 1, &["x"])).collect()
}

fn have(feeds: &[Vec<VerifiedEnvelope>]) -> Message {
    let have = |feed: &Vec<VerifiedEnvelope>| Have { feed: feed[0].feed_id(), head: Seq(1), floor: Seq(1) };
    Message::Have(feeds.iter().map(have).collect())
}

/// What a peer says that holds these feeds.
fn serve(feeds: &[Vec<VerifiedEnvelope>], message: &Message) -> Vec<Message> {
    let Message::Want(want) = message else { return content(message) };
    feeds.iter().filter(|feed| feed[0].feed_id() == want.feed).map(|feed| repaired(feed)).collect()
}

/// The feeds that are asked for on a link.
fn wanted(peer: &mut Peer, link: LinkId) -> BTreeSet<FeedId> {
    let said = peer.said(link).into_iter();
    said.filter_map(|message| if let Message::Want(want) = message { Some(want.feed) } else { None }).collect()
}

#[test]
fn feeds_that_wait_for_a_place_are_asked_for_when_others_are_there() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feeds = feeds(100);
    peer.hear(link, &have(&feeds));
    let mut asked = wanted(&mut peer, link);
    assert_eq!(asked.len(), REPAIRS_PER_LINK_MAX);
    while peer.history().len() < feeds.len() {
        let next = asked.pop_first().expect("somebody is asked as long as something is missing");
        let feed = feeds.iter().find(|feed| feed[0].feed_id() == next).expect("it was announced");
        peer.hear(link, &repaired(feed));
        // One is there, so one more is asked for, and no more.
        asked.extend(wanted(&mut peer, link));
        let left = feeds.len() - peer.history().len();
        assert_eq!(asked.len(), left.min(REPAIRS_PER_LINK_MAX));
    }
}

#[test]
fn feeds_that_waited_for_a_link_that_went_are_asked_for_elsewhere() {
    let mut peer = Peer::new(1);
    let (silent, lively) = (linked(&mut peer, 2), linked(&mut peer, 4));
    let feeds = feeds(60);
    peer.hear(silent, &have(&feeds));
    peer.hear(lively, &have(&feeds));
    peer.converse(100, |_, message| content(message));
    peer.close(silent);
    peer.converse(10_000, |_, message| serve(&feeds, message));
    assert_eq!(peer.history().len(), feeds.len());
    assert_eq!(peer.mesh.status().missing_posts, 0);
}

#[test]
fn w_18_who_announces_much_and_serves_nothing_takes_no_place_from_others() {
    let mut peer = Peer::new(1);
    let (liar, honest) = (linked(&mut peer, 2), linked(&mut peer, 4));
    let (bogus, real) = (chain(5, 1, 1, &["never"]), feeds(60));
    let mut named: Vec<Have> = Vec::new();
    for n in 0..500u128 {
        named.push(Have { feed: FeedId((n << 64).to_be_bytes()), head: bogus[0].last(), floor: Seq(1) });
    }
    peer.hear(liar, &Message::Have(named));
    peer.hear(liar, &have(&real));
    peer.hear(honest, &have(&real));
    peer.converse(300_000, |link, message| if link == honest { serve(&real, message) } else { content(message) });
    assert_eq!(peer.history().len(), real.len());
    assert_eq!(peer.mesh.status().peers_up, 1, "who named what is nowhere is banned by now");
}

#[test]
fn nobody_else_is_asked_while_an_answer_is_on_its_way_over_a_slow_line() {
    let mut peer = Peer::new(1);
    let (slow, other) = (linked(&mut peer, 2), linked(&mut peer, 4));
    let feeds = feeds(1);
    peer.hear(slow, &have(&feeds));
    assert_eq!(wanted(&mut peer, slow).len(), 1);
    peer.hear(other, &have(&feeds));
    for _ in 0..20 {
        peer.handle(Input::Receiving(slow));
        peer.run_for(1_000);
    }
    assert!(wanted(&mut peer, other).is_empty());
    peer.hear(slow, &repaired(&feeds[0]));
    assert_eq!(peer.history(), ["x"]);
}

#[test]
fn d_06_a_peer_with_a_full_disk_asks_once_a_second_and_not_as_fast_as_it_is_answered() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feeds = [chain(3, 1, 5, &["x"])];
    peer.store.mood = Mood::Full;
    peer.hear(link, &Message::Have(vec![Have { feed: feeds[0][0].feed_id(), head: Seq(5), floor: Seq(1) }]));
    let mut asked = 0;
    peer.converse(10_000, |_, message| match message {
        Message::Want(_) => {
            asked += 1;
            feeds[0].iter().map(|envelope| repaired(std::slice::from_ref(envelope))).collect()
        }
        message => content(message),
    });
    assert!((5..=30).contains(&asked), "asked {asked} times in ten seconds");
}
