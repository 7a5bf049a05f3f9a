//! What somebody says of where peers are, without proof.

use super::kit::{EPOCH, Peer, addr, config, id, key, record};
use crate::id::{DialId, PeerId};
use crate::input::{Command, DialFailure};
use crate::limits::{ADDRS_PER_RECORD_MAX, DIALS_FOR_HINTED, HINT_TRIES_MAX, HINTED_PEERS_MAX};
use crate::membership::record::{Addr, Record};

fn hint(peer: &mut Peer, of: PeerId, addrs: &[Addr]) {
    peer.command(Command::Hint { peer: of, addrs: addrs.to_vec() });
}

/// An id that nobody has.
fn invented(n: usize) -> PeerId {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    PeerId(bytes)
}

/// All dials of a while, each of which fails at once: where they went.
fn fail_all(peer: &mut Peer, ms: u64) -> Vec<Addr> {
    let (end, mut seen) = (peer.now_ms() + ms, Vec::new());
    while peer.now_ms() < end {
        peer.run_for(100);
        for (dial, addr, _) in peer.dials() {
            seen.push(addr);
            peer.fail_dial(dial, DialFailure::Unreachable);
        }
    }
    seen
}

fn len(peer: &Peer, what: &str) -> usize {
    peer.mesh.census().into_iter().find(|count| count.what == what).unwrap().len
}

#[test]
fn who_is_said_to_be_somewhere_is_dialed_there_and_has_to_prove_who_it_is() {
    let mut peer = Peer::new(1);
    hint(&mut peer, id(2), &[addr(2)]);
    peer.run_for(300);
    let dials = peer.dials();
    assert_eq!(dials.iter().map(|(_, to, who)| (to.clone(), *who)).collect::<Vec<_>>(), [(addr(2), Some(id(2)))]);
    assert_eq!(peer.mesh.peers(peer.now).len(), 0, "hearsay is no peer");
    peer.answer(dials[0].0, 2);
    assert_eq!(peer.mesh.status().peers_up, 1);
    assert_eq!((len(&peer, "hinted peers"), peer.count("hints_total")), (0, 1), "the link proves more");
}

#[test]
fn a_hint_is_tried_three_times_and_forgotten_and_heard_again_tried_again() {
    let mut peer = Peer::new(1);
    for _ in 0..2 {
        hint(&mut peer, id(2), &[addr(2)]);
        assert_eq!(fail_all(&mut peer, 120_000).len(), HINT_TRIES_MAX as usize);
        assert_eq!((len(&peer, "hinted peers"), len(&peer, "peers to be dialed")), (0, 0));
    }
}

#[test]
fn a_hint_adds_to_what_a_peer_says_itself_and_never_replaces_it() {
    let other: Addr = "10.5.5.5:5".parse().unwrap();
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    hint(&mut peer, id(2), &[other.clone(), addr(2)]);
    let shown = peer.mesh.peers(peer.now)[0].addresses.clone();
    assert_eq!(shown, [addr(2), other.clone()]);
    let dials = fail_all(&mut peer, 600_000);
    assert_eq!(dials.iter().filter(|to| **to == other).count(), HINT_TRIES_MAX as usize);
    assert_eq!(*dials.last().unwrap(), addr(2), "its own address is dialed for ever");
    assert_eq!(peer.mesh.peers(peer.now)[0].addresses, [addr(2)]);
}

#[test]
fn a_peer_that_moved_is_dialed_at_its_new_address_without_waiting() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    fail_all(&mut peer, 300_000);
    let other: Addr = "10.5.5.5:5".parse().unwrap();
    hint(&mut peer, id(2), std::slice::from_ref(&other));
    assert!(fail_all(&mut peer, 1_000).contains(&other));
}

#[test]
fn what_is_said_again_and_again_hurries_us_once_in_a_while() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    fail_all(&mut peer, 300_000);
    let mut dials = 0;
    for _ in 0..600 {
        hint(&mut peer, id(2), &[addr(2)]);
        dials += fail_all(&mut peer, 100).len();
    }
    assert!((10..=45).contains(&dials), "{dials} dials in a minute");
}

#[test]
fn nobody_is_dialed_who_is_linked_blocked_or_ourselves() {
    let mut peer = Peer::with(1, |config| config.block = [id(3)].into());
    peer.accept(2);
    for n in 1..=3 {
        hint(&mut peer, id(n), &[addr(n)]);
    }
    peer.run_for(10_000);
    assert_eq!(peer.dials(), []);
    assert_eq!((len(&peer, "hinted peers"), peer.count("hints_total")), (0, 3));
}

#[test]
fn who_refuses_us_is_not_dialed_more_often_because_it_is_heard() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    let mut dials = 0;
    for _ in 0..600 {
        hint(&mut peer, id(2), &[addr(2)]);
        peer.run_for(100);
        for (dial, ..) in peer.dials() {
            dials += 1;
            peer.fail_dial(dial, DialFailure::Refused);
        }
    }
    assert!(dials <= 4, "{dials} dials in a minute");
}

#[test]
fn a_flood_of_invented_peers_takes_two_dials_and_a_bounded_memory_and_pushes_nobody_out() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    let mut taken: Vec<DialId> = Vec::new();
    let addrs: Vec<Addr> = (1..=9).map(|n| format!("10.6.6.{n}:1").parse().unwrap()).collect();
    for n in 0..2_000 {
        hint(&mut peer, invented(n), &addrs);
        peer.run_for(10);
        taken.extend(peer.dials().into_iter().filter(|(_, to, _)| *to != addr(2)).map(|(dial, ..)| dial));
    }
    assert_eq!(taken.len(), DIALS_FOR_HINTED, "they are never answered");
    assert_eq!(len(&peer, "hinted peers"), HINTED_PEERS_MAX);
    assert_eq!(len(&peer, "hints"), HINTED_PEERS_MAX * ADDRS_PER_RECORD_MAX);
    assert!(peer.count("hints_dropped_total") > 1_000);
    let book = Record::sign(&key(4), 9, &[addr(4)], "four", EPOCH);
    peer.visit(5, &[crate::wire::message::Message::Peers(vec![book])]);
    peer.run_for(1_000);
    assert!(peer.dials().iter().any(|(_, to, _)| *to == addr(4)), "whoever is known by more goes on being dialed");
}

#[test]
fn hints_that_lead_nowhere_give_way_to_others() {
    let mut peer = Peer::new(1);
    for n in 0..HINTED_PEERS_MAX {
        hint(&mut peer, invented(n), &[addr(9)]);
    }
    // From now on none of them is welcome, so none is dialed.
    peer.command(Command::Block((0..HINTED_PEERS_MAX).map(invented).collect()));
    peer.run_for(1_000);
    for (dial, ..) in peer.dials() {
        peer.fail_dial(dial, DialFailure::Unreachable);
    }
    hint(&mut peer, id(2), &[addr(2)]);
    peer.run_for(1_000);
    assert!(peer.dials().iter().any(|(_, to, _)| *to == addr(2)));
    assert_eq!(len(&peer, "hinted peers"), HINTED_PEERS_MAX);
}

#[test]
fn what_nobody_can_dial_is_no_hint() {
    let mut peer = Peer::new(1);
    hint(&mut peer, id(2), &["0.0.0.0:1".parse().unwrap(), "224.0.0.251:5353".parse().unwrap()]);
    assert_eq!(fail_all(&mut peer, 5_000), []);
    assert_eq!((len(&peer, "hinted peers"), len(&peer, "peers to be dialed")), (0, 0));
}
