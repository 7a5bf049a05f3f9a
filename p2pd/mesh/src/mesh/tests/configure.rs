//! What the user chose anew is in force at once, and costs nobody a link who may stay.

use std::time::Duration;

use super::kit::{Peer, addr, config, content, id};
use crate::config::Config;
use crate::id::LinkId;
use crate::input::{Command, DialFailure};
use crate::membership::record::Addr;
use crate::wire::message::{ByeCode, Message};

fn configure(peer: &mut Peer, change: impl FnOnce(&mut Config)) {
    let mut config = config(1);
    change(&mut config);
    peer.command(Command::Configure(Box::new(config)));
}

/// Why goodbye was said on a link.
fn bye_code(peer: &mut Peer, link: LinkId) -> Option<ByeCode> {
    peer.said(link).into_iter().find_map(|message| match message {
        Message::Bye(bye) => Some(bye.code),
        _ => None,
    })
}

fn dialed(peer: &mut Peer) -> Vec<Addr> {
    peer.dials().into_iter().map(|(_, addr, _)| addr).collect()
}

#[test]
fn the_same_choices_again_change_nothing() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    let link = peer.accept(3);
    peer.run_for(100);
    peer.effects.clear();
    configure(&mut peer, |config| config.peers = vec![addr(2)]);
    assert_eq!((peer.effects.len(), bye_code(&mut peer, link)), (0, None));
}

#[test]
fn a_new_address_is_dialed_at_once_and_one_that_is_gone_no_more() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2)]);
    peer.run_for(100);
    let (first, ..) = peer.dials()[0];
    configure(&mut peer, |config| config.peers = vec![addr(3)]);
    peer.run_for(0);
    assert_eq!(dialed(&mut peer), [addr(3)]);
    peer.fail_dial(first, DialFailure::Unreachable);
    peer.run_for(3_600_000);
    assert!(!dialed(&mut peer).contains(&addr(2)), "nobody wants that address any more");
}

#[test]
fn what_was_added_and_forgotten_by_hand_stays_so() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(2), addr(3)]);
    peer.command(Command::AddPeer(addr(4)));
    peer.command(Command::ForgetAddr(addr(2)));
    configure(&mut peer, |config| config.peers = vec![addr(2), addr(3), addr(5)]);
    let is_configured = [2, 3, 4, 5].map(|n| peer.mesh.is_configured_addr(&addr(n)));
    assert_eq!(is_configured, [false, true, true, true]);
}

#[test]
fn who_is_not_welcome_any_more_is_hung_up_and_the_others_stay() {
    let mut peer = Peer::new(1);
    let (two, three) = (peer.accept(2), peer.accept(3));
    configure(&mut peer, |config| config.block = [id(2)].into());
    assert_eq!((bye_code(&mut peer, two), bye_code(&mut peer, three)), (Some(ByeCode::Banned), None));
    configure(&mut peer, |config| config.allow = [id(9)].into());
    assert_eq!(bye_code(&mut peer, three), Some(ByeCode::Banned));
    peer.close(two);
    configure(&mut peer, |_| ());
    peer.accept(2);
    assert_eq!(peer.mesh.status().peers_up, 1, "it is welcome again");
}

#[test]
fn who_is_blocked_while_linked_is_hung_up_and_not_dialed_until_he_is_not() {
    let mut peer = Peer::new(1);
    let two = peer.accept(2);
    peer.command(Command::Block([id(2)].into()));
    assert_eq!(bye_code(&mut peer, two), Some(ByeCode::Banned));
    peer.close(two);
    peer.command(Command::Reconnect(Some(id(2))));
    peer.run_for(60_000);
    assert_eq!(peer.dials(), []);
    peer.command(Command::Block([].into()));
    peer.command(Command::Reconnect(Some(id(2))));
    peer.run_for(1_000);
    assert_eq!(peer.dials().len(), 1, "it is welcome again, and dialed at once");
}

#[test]
fn of_too_many_links_the_users_own_peers_and_then_the_oldest_stay() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(4)]);
    let (two, three) = (peer.accept(2), peer.accept(3));
    peer.run_for(100);
    let dial = peer.dials().into_iter().find(|(_, to, _)| *to == addr(4)).unwrap().0;
    let four = peer.answer(dial, 4);
    configure(&mut peer, |config| (config.peers, config.max_connections) = (vec![addr(4)], 2));
    let codes = [two, three, four].map(|link| bye_code(&mut peer, link));
    assert_eq!(codes, [None, Some(ByeCode::Full), None]);
}

#[test]
fn a_new_name_and_new_addresses_are_told_to_everybody() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.said(link);
    configure(&mut peer, |config| (config.name, config.advertise) = ("other".into(), vec![addr(77)]));
    let told = peer.said(link).into_iter().find_map(|message| match message {
        Message::Peers(records) => Some(records),
        _ => None,
    });
    let record = &told.unwrap()[0];
    assert_eq!((record.id, record.name.as_str(), &record.addrs[..]), (id(1), "other", &[addr(77)][..]));
    assert_eq!(peer.mesh.status().advertise, [addr(77)]);
}

#[test]
fn a_shorter_heartbeat_holds_for_links_that_are_up_too() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.converse(1_000, |_, message| content(message));
    let pings = |peer: &mut Peer| {
        let said = std::cell::Cell::new(0);
        peer.converse(10_000, |_, message| {
            said.set(said.get() + u32::from(matches!(message, Message::Ping(_))));
            content(message)
        });
        said.get()
    };
    assert_eq!(pings(&mut peer), 0);
    configure(&mut peer, |config| config.heartbeat_interval = Duration::from_secs(2));
    assert!((4..=5).contains(&pings(&mut peer)), "one every two seconds");
    assert_eq!(bye_code(&mut peer, link), None);
}
