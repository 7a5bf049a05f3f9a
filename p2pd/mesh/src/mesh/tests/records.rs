//! Who is told of whom.

use super::kit::{EPOCH, Peer, addr, content, hello, id, key, record};
use crate::effect::Effect;
use crate::id::{LinkId, PeerId};
use crate::membership::record::Record;
use crate::wire::message::{Hello, Message};

fn revised(n: u8, rev: u64, addr: &str) -> Record {
    Record::sign(&key(n), rev, &[addr.parse().unwrap()], "peer", EPOCH)
}

/// Whose records were said on a link.
fn told(peer: &mut Peer, link: LinkId) -> Vec<PeerId> {
    let records = peer.said(link).into_iter().filter_map(|message| match message {
        Message::Peers(records) => Some(records),
        _ => None,
    });
    records.flatten().map(|record| record.id).collect()
}

#[test]
fn a_newcomer_and_the_others_hear_of_each_other() {
    let mut peer = Peer::new(1);
    let old = peer.accept(2);
    assert_eq!(told(&mut peer, old), []);
    let new = peer.accept(3);
    assert_eq!(told(&mut peer, old), [id(3)]);
    assert_eq!(told(&mut peer, new), [id(2)]);
}

#[test]
fn a_new_record_is_told_to_all_but_its_source_and_its_owner() {
    let mut peer = Peer::new(1);
    let links: Vec<LinkId> = (2..=4).map(|n| peer.accept(n)).collect();
    links.iter().for_each(|link| {
        peer.said(*link);
    });
    peer.hear(links[0], &Message::Peers(vec![record(9), revised(4, 6, "10.0.0.44:1")]));
    assert_eq!(told(&mut peer, links[0]), []);
    assert_eq!(told(&mut peer, links[1]).len(), 2);
    assert_eq!(told(&mut peer, links[2]), [id(9)]);
    // The same again is no news, so that nothing goes round for ever.
    peer.hear(links[1], &Message::Peers(vec![record(9), revised(4, 6, "10.0.0.44:1")]));
    assert!(links.iter().all(|link| told(&mut peer, *link).is_empty()));
}

#[test]
fn w_21_an_older_record_is_neither_kept_nor_told() {
    let mut peer = Peer::new(1);
    let (two, three) = (peer.accept(2), peer.accept(3));
    peer.hear(two, &Message::Peers(vec![revised(9, 7, "10.0.0.9:7")]));
    peer.said(three);
    peer.effects.clear();
    peer.hear(two, &Message::Peers(vec![revised(9, 6, "10.0.0.9:6")]));
    assert_eq!(told(&mut peer, three), []);
    assert!(!peer.effects.iter().any(|effect| matches!(effect, Effect::SaveRecord { .. })));
    assert_eq!(peer.mesh.record_of(&id(9)).unwrap().rev, 7);
}

#[test]
fn news_of_a_record_are_saved() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.effects.clear();
    peer.hear(link, &Message::Peers(vec![record(9)]));
    let is_saved = |effect: &Effect| matches!(effect, Effect::SaveRecord { record, seen_ms: 0 } if record.id == id(9));
    assert!(peer.effects.iter().any(is_saved));
}

#[test]
fn loopback_addresses_are_not_told_to_other_machines() {
    let mut peer = Peer::new(1);
    let local = Hello { record: revised(2, 5, "127.0.0.1:8080"), ..hello(2) };
    peer.accept_hello(2, local);
    let remote = peer.accept(3);
    assert_eq!(told(&mut peer, remote), []);
}

#[test]
fn an_address_that_a_link_shows_is_told_to_who_is_linked_already() {
    let mut peer = Peer::with(1, |config| config.advertise.clear());
    // Every link of the harness ends at the same address of ours, so the first one shows it.
    let first = peer.accept(2);
    let own = peer.mesh.record().clone();
    assert_eq!(own.addrs, ["10.0.0.99:8080".parse().unwrap()]);
    let second = peer.open(3, None);
    let said = peer.said(second);
    assert!(matches!(&said[..], [Message::Hello(hello)] if hello.record == own));
    assert_eq!(told(&mut peer, first), [], "it was in the hello");
}

#[test]
fn w_20_our_own_record_from_somebody_else_is_no_peer() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &Message::Peers(vec![revised(1, 9_999, "10.0.0.66:1")]));
    peer.converse(60_000, |_, message| content(message));
    assert_eq!(peer.dials(), []);
    assert_eq!(peer.mesh.status().peers_known, 1);
    assert_eq!(peer.mesh.record().addrs, [addr(1)]);
}
