//! Whom to dial, where, and when.

use ed25519_dalek::SigningKey;

use super::kit::{EPOCH, Peer, addr, chain, config, content, hello, id, key, record};
use crate::effect::{Effect, Event};
use crate::envelope::Envelope;
use crate::id::{DialId, PeerId};
use crate::input::{Command, DialFailure};
use crate::limits::{DIALS_FOR_CONFIGURED, DIALS_IN_FLIGHT_MAX};
use crate::membership::record::{Addr, Record};
use crate::status::PeerState;
use crate::wire::message::{Bye, ByeCode, Envelopes, Message};

/// Lets time pass while every dial fails like that; gives the moments of all dials and where they went.
fn fail_all(peer: &mut Peer, ms: u64, failure: DialFailure) -> Vec<(u64, Addr, Option<PeerId>)> {
    let (end, mut seen) = (peer.now_ms() + ms, Vec::new());
    loop {
        for (dial, addr, expected) in peer.dials() {
            seen.push((peer.now_ms(), addr, expected));
            peer.fail_dial(dial, failure);
        }
        if peer.now_ms() >= end {
            return seen;
        }
        peer.run_to_timer(end);
    }
}

fn bye(code: ByeCode) -> Message {
    Message::Bye(Bye { code, why: "test".into(), retry_ms: None, records: Vec::new() })
}

/// Waits between dials, in milliseconds.
fn waits(dials: &[(u64, Addr, Option<PeerId>)]) -> Vec<u64> {
    dials.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

#[test]
fn a_configured_address_is_dialed_for_ever_and_ever_more_rarely() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    let dials = fail_all(&mut peer, 3_600_000, DialFailure::Unreachable);
    let waits = waits(&dials);
    assert!(waits[0] <= 260, "the first retry comes at once");
    assert!(waits.iter().all(|wait| *wait <= 30_020), "{waits:?}");
    assert!((120..400).contains(&dials.len()), "{} dials in an hour", dials.len());
    assert!(dials.iter().all(|(_, to, expected)| *to == addr(2) && expected.is_none()));
    let status = &peer.mesh.peers(peer.now)[0];
    assert_eq!((status.id, status.state, status.configured), (None, PeerState::Waiting, true));
    assert_eq!(status.tries as usize, dials.len());
    assert_eq!(status.last_error, "Unreachable");
}

#[test]
fn h_02_who_refuses_our_handshake_is_not_asked_every_second() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    let dials = fail_all(&mut peer, 3_600_000, DialFailure::Refused);
    assert!((8..=14).contains(&dials.len()), "{} dials in an hour", dials.len());
    assert!(waits(&dials).iter().all(|wait| *wait <= 600_020));
}

#[test]
fn all_addresses_of_a_peer_are_tried_before_the_wait() {
    let addrs: Vec<Addr> = (1..=4).map(|n| format!("10.9.9.{n}:1").parse().unwrap()).collect();
    let known = Record::sign(&key(2), 5, &addrs, "peer2", EPOCH);
    let mut peer = Peer::start(1, config(1), &[], vec![(known, 0)]);
    let dials = fail_all(&mut peer, 5_000, DialFailure::Unreachable);
    let round: Vec<Addr> = dials[..4].iter().map(|(_, addr, _)| addr.clone()).collect();
    assert_eq!(round, addrs);
    assert!(dials[3].0 - dials[0].0 <= 40, "without waiting in between");
    assert!(dials.iter().all(|(_, _, expected)| *expected == Some(id(2))), "a record proves who must be there");
}

#[test]
fn no_more_than_eight_dials_are_under_way_and_two_of_them_only_to_configured_peers() {
    let book = (10..40).map(|n| (record(n), 0)).collect();
    let mut peer = Peer::start(1, config(1), &[], book);
    peer.run_for(10_000);
    let dials = peer.dials();
    // Two places are kept for what the user configured.
    assert_eq!(dials.len(), DIALS_IN_FLIGHT_MAX - DIALS_FOR_CONFIGURED);
    peer.fail_dial(dials[0].0, DialFailure::Unreachable);
    peer.run_for(500);
    assert_eq!(peer.dials().len(), 1);
}

#[test]
fn a_user_who_asks_again_and_again_for_a_dial_that_waits_its_turn_makes_nothing_grow() {
    let book = (10..40).map(|n| (record(n), 0)).collect();
    let mut peer = Peer::start(1, config(1), &[], book);
    peer.run_for(10_000);
    for _ in 0..100 {
        peer.command(Command::Reconnect(None));
        peer.run_for(10);
    }
    let waiting = peer.mesh.census().into_iter().find(|count| count.what == "dials in turn").unwrap();
    assert_eq!(waiting.len, 30 - (DIALS_IN_FLIGHT_MAX - DIALS_FOR_CONFIGURED));
    assert!(peer.mesh.peers(peer.now).iter().all(|status| status.state != PeerState::Down), "nobody is given up");
}

#[test]
fn a_book_full_of_the_dead_does_not_delay_a_configured_address() {
    let dead = |n: u32| {
        let mut seed = [9; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        let addr = format!("10.1.{}.{}:1", n / 250, 1 + n % 250).parse().unwrap();
        (Record::sign(&SigningKey::from_bytes(&seed), 5, &[addr], "dead", EPOCH), 0)
    };
    let mut chosen = config(1);
    chosen.peers = vec![addr(2)];
    let mut peer = Peer::start(1, chosen, &[], (0..300).map(dead).collect());
    // The dead let every dial run into its timeout; the configured one refuses at once.
    let (mut under_way, mut configured) = (Vec::<(u64, DialId)>::new(), vec![0]);
    while peer.now_ms() < 900_000 {
        peer.run_for(50);
        for (dial, to, _) in peer.dials() {
            let is_configured = to == addr(2);
            configured.extend(is_configured.then_some(peer.now_ms()));
            under_way.push((peer.now_ms() + if is_configured { 10 } else { 5_000 }, dial));
        }
        for (_, dial) in under_way.extract_if(.., |(due, _)| *due <= peer.now_ms()).collect::<Vec<_>>() {
            peer.fail_dial(dial, DialFailure::Unreachable);
        }
        peer.effects.clear();
    }
    let longest = configured.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= 36_000, "the cap of 30 s and the end of one dial, not {longest} ms");
}

#[test]
fn a_peer_whose_hello_is_waited_for_is_not_shown_as_given_up() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    peer.run_for(1_000);
    let dial = peer.dial();
    let state = |peer: &Peer| peer.mesh.peers(peer.now)[0].state;
    assert_eq!(state(&peer), PeerState::Dialing);
    peer.open(2, Some(dial));
    assert_eq!(state(&peer), PeerState::Dialing);
    peer.run_for(6_000);
    assert_ne!(state(&peer), PeerState::Down);
}

#[test]
fn an_address_that_was_ours_is_dialed_when_somebody_else_says_that_it_is_there_now() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(100);
    let dial = peer.dial();
    peer.answer(dial, 1);
    peer.run_for(60_000);
    assert_eq!(peer.dials(), [], "we are there ourselves");
    let link = peer.accept(3);
    peer.hear(link, &Message::Peers(vec![record(2)]));
    peer.run_for(1_000);
    assert!(peer.dials().iter().any(|(_, to, expected)| *to == addr(2) && *expected == Some(id(2))));
}

#[test]
fn who_was_not_dialed_for_want_of_room_is_dialed_when_there_is_room() {
    let mut peer = Peer::with(1, |config| config.max_connections = 1);
    let link = peer.accept(2);
    peer.hear(link, &Message::Peers(vec![record(4)]));
    peer.run_for(900);
    assert_eq!(peer.dials(), []);
    peer.close(link);
    let dials = fail_all(&mut peer, 60_000, DialFailure::Unreachable);
    assert!(dials.iter().any(|(_, to, _)| *to == addr(4)), "{dials:?}");
}

#[test]
fn above_the_full_mesh_only_configured_peers_are_dialed() {
    let mut peer = Peer::with(1, |config| {
        config.full_mesh_max = 2;
        config.peers = vec![addr(9)];
    });
    let links: Vec<_> = [2, 3].map(|n| peer.accept(n)).to_vec();
    peer.hear(links[0], &Message::Peers(vec![record(4)]));
    peer.run_for(2_000);
    let dialed: Vec<Addr> = peer.dials().into_iter().map(|(_, addr, _)| addr).collect();
    assert_eq!(dialed, [addr(9)]);
}

#[test]
fn a_configured_peer_is_dialed_again_when_its_ban_is_over() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(400);
    let dial = peer.dial();
    let link = peer.answer(dial, 2);
    let forged = Envelope::parse(chain(3, 7, 1, &["x"])[0].bytes().clone(), [1; 64]).unwrap();
    peer.hear(link, &Message::Envelopes(Envelopes { items: vec![forged], hop: 0, live: true, more: false }));
    assert!(peer.ends()[0].contains("banned"));
    peer.close(link);
    let dials = fail_all(&mut peer, 180_000, DialFailure::Unreachable);
    let first = dials.first().expect("a configured peer is banned for a minute").0;
    assert!((60_000..95_000).contains(&first), "dialed again after {first} ms");
}

#[test]
fn who_was_banned_from_the_book_is_dialed_again_after_an_hour() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    peer.run_for(400);
    let dial = peer.dial();
    let link = peer.answer(dial, 2);
    let forged = Envelope::parse(chain(3, 7, 1, &["x"])[0].bytes().clone(), [1; 64]).unwrap();
    peer.hear(link, &Message::Envelopes(Envelopes { items: vec![forged], hop: 0, live: true, more: false }));
    peer.close(link);
    peer.run_for(3_590_000);
    assert_eq!(peer.dials(), []);
    peer.run_for(3_600_000);
    assert!(!peer.dials().is_empty());
}

#[test]
fn a_forgotten_address_stays_forgotten_though_its_dial_is_under_way() {
    let mut peer = Peer::new(1);
    peer.command(Command::AddPeer(addr(7)));
    peer.run_for(1);
    let dial = peer.dial();
    assert!(peer.mesh.is_configured_addr(&addr(7)));
    peer.command(Command::ForgetAddr(addr(7)));
    peer.fail_dial(dial, DialFailure::Unreachable);
    peer.run_for(60_000);
    assert_eq!(peer.dials(), []);
    assert!(!peer.mesh.is_configured_addr(&addr(7)));
    assert_eq!(peer.mesh.peers(peer.now).len(), 0);
}

#[test]
fn a_forgotten_peer_is_in_no_book_and_not_dialed() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0), (record(3), 0)]);
    peer.command(Command::ForgetPeer(id(2)));
    assert!(peer.effects.iter().any(|effect| matches!(effect, Effect::ForgetRecord(who) if *who == id(2))));
    assert_eq!(peer.mesh.record_of(&id(2)), None);
    let dials = fail_all(&mut peer, 60_000, DialFailure::Unreachable);
    assert!(dials.iter().all(|(_, to, _)| *to == addr(3)));
}

#[test]
fn at_a_configured_address_somebody_new_is_welcome() {
    // The machine was set up anew: same address, new identity.
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(400);
    let dial = peer.dial();
    let link = peer.answer(dial, 2);
    peer.run_for(20_000);
    peer.close(link);
    let dials = fail_all(&mut peer, 600_000, DialFailure::WrongPeer);
    assert!(dials.iter().any(|(_, to, expected)| *to == addr(2) && expected.is_none()), "{} dials", dials.len());
}

#[test]
fn h_06_it_is_told_that_somebody_else_is_where_a_peer_was_until_it_is_found_again() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0)]);
    let met_other = |peer: &Peer| peer.mesh.peers(peer.now)[0].met_other;
    fail_all(&mut peer, 60_000, DialFailure::WrongPeer);
    assert!(met_other(&peer));
    fail_all(&mut peer, 60_000, DialFailure::Unreachable);
    assert!(!met_other(&peer), "nobody is there now");
    fail_all(&mut peer, 60_000, DialFailure::WrongPeer);
    peer.accept(2);
    assert!(!met_other(&peer));
}

#[test]
fn the_first_link_after_none_ends_all_waiting() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2), addr(3)]);
    fail_all(&mut peer, 600_000, DialFailure::Unreachable);
    peer.accept(4);
    let mut dialed: Vec<Addr> =
        fail_all(&mut peer, 50, DialFailure::Unreachable).into_iter().map(|dial| dial.1).collect();
    dialed.sort();
    dialed.dedup();
    assert_eq!(dialed, [addr(2), addr(3)]);
}

#[test]
fn reconnect_ends_the_wait_of_one_or_of_all() {
    let mut peer = Peer::start(1, config(1), &[], vec![(record(2), 0), (record(3), 0)]);
    fail_all(&mut peer, 600_000, DialFailure::Unreachable);
    let dialed = |peer: &mut Peer| {
        peer.run_for(1);
        let mut to: Vec<Addr> = peer
            .dials()
            .into_iter()
            .map(|(dial, addr, _)| {
                peer.fail_dial(dial, DialFailure::Unreachable);
                addr
            })
            .collect();
        to.sort();
        to
    };
    assert_eq!(peer.mesh.reconnects(Some(id(2)), peer.now), 1);
    peer.command(Command::Reconnect(Some(id(2))));
    assert_eq!(dialed(&mut peer), [addr(2)]);
    peer.command(Command::Reconnect(None));
    assert_eq!(dialed(&mut peer), [addr(2), addr(3)]);
    assert_eq!(peer.mesh.reconnects(Some(id(9)), peer.now), 0);
}

#[test]
fn a_restarting_peer_is_dialed_at_once_and_one_with_no_room_rarely() {
    for (code, waits) in [(ByeCode::Restart, 0..=260), (ByeCode::Leaving, 0..=260), (ByeCode::Full, 900..=5_000)] {
        let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
        peer.run_for(400);
        let dial = peer.dial();
        let link = peer.answer(dial, 2);
        peer.converse(20_000, |_, message| content(message));
        peer.hear(link, &bye(code));
        peer.close(link);
        let begin = peer.now_ms();
        let dials = fail_all(&mut peer, 20_000, DialFailure::Unreachable);
        assert!(waits.contains(&(dials[0].0 - begin)), "{code:?}: {:?}", dials[0].0 - begin);
    }
}

#[test]
fn who_has_no_room_tells_of_others_and_they_are_dialed() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(400);
    let dial = peer.dial();
    let link = peer.open(2, Some(dial));
    let records = vec![record(5), record(6)];
    peer.hear(link, &Message::Hello(Box::new(hello(2))));
    peer.hear(link, &Message::Bye(Bye { code: ByeCode::Full, why: String::new(), retry_ms: None, records }));
    peer.close(link);
    peer.run_for(500);
    let mut dialed: Vec<Addr> = peer.dials().into_iter().map(|(_, addr, _)| addr).collect();
    dialed.sort();
    assert_eq!(dialed[..], [addr(5), addr(6)]);
}

#[test]
fn a_failed_dial_is_told_with_its_reason_and_the_wait() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(400);
    let dial = peer.dial();
    peer.fail_dial(dial, DialFailure::Unreachable);
    let events = peer.events();
    let [Event::DialFailed { addr: at, reason, tries: 1, is_refused: false, retry_ms }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((at, reason.as_str()), (&addr(2), "Unreachable"));
    assert!(*retry_ms <= 250);
    assert_eq!(peer.mesh.peers(peer.now)[0].next_dial_ms, Some(*retry_ms));
}
