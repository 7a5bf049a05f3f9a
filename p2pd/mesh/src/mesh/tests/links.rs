//! Hello, which of two links stays, who is refused, goodbye.

use super::kit::{EPOCH, Peer, addr, chain, config, content, draft, hello, id, pushed, record, run};
use super::world::World;
use crate::effect::{Effect, Event, Refusal};
use crate::id::{Epoch, Instance, LinkId};
use crate::input::{Command, DialFailure};
use crate::membership::record::Record;
use crate::status::PeerState;
use crate::wire::message::{Bye, ByeCode, Hello, Message, View};

/// The goodbyes among some messages.
fn byes(messages: &[Message]) -> Vec<ByeCode> {
    let byes =
        messages.iter().filter_map(|message| if let Message::Bye(bye) = message { Some(bye.code) } else { None });
    byes.collect()
}

/// Peer 1 hears this hello of peer 2 and says goodbye for that reason, at once and for good.
#[track_caller]
fn check_refused(mut peer: Peer, hello: Hello, expected: ByeCode) {
    let link = peer.accept_hello(2, hello);
    assert_eq!(byes(&peer.said(link)), [expected]);
    assert_eq!(peer.hung_up(), [link]);
    assert_eq!(peer.mesh.status().peers_up, 0);
    peer.hear(link, &pushed(&chain(2, EPOCH.0, 1, &["too late"])));
    assert!(peer.said(link).is_empty());
    assert!(peer.history().is_empty());
}

#[test]
fn the_first_thing_said_is_hello_and_larger_frames_come_after_the_others() {
    let mut peer = Peer::new(1);
    let link = peer.open(2, None);
    let said = peer.said(link);
    let [Message::Hello(said)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((said.epoch, said.record.id, said.dial), (EPOCH, id(1), 0));
    assert_eq!(said.observed, "10.0.0.2:50000");
    assert!(!peer.effects.iter().any(|effect| matches!(effect, Effect::RaiseFrameLimit(_))));
    peer.hear(link, &Message::Hello(Box::new(hello(2))));
    assert!(peer.effects.iter().any(|effect| matches!(effect, Effect::RaiseFrameLimit(raised) if *raised == link)));
    assert_eq!(peer.mesh.peers(peer.now)[0].state, PeerState::Up);
}

#[test]
fn h_08_of_two_links_dialed_at_once_exactly_one_stays_and_both_sides_agree() {
    // Who is the smaller id must not matter, so both orders are tried.
    for (a, b) in [(1, 2), (2, 3), (3, 4), (4, 5)] {
        let mut world = World::new(5);
        world.command(a, Command::AddPeer(addr(b)));
        world.command(b, Command::AddPeer(addr(a)));
        world.run_for(2_000);
        assert_eq!(world.links_between(a, b), 1);
        let dialers: Vec<bool> = [(a, b), (b, a)]
            .map(|(n, other)| {
                let peer = world.peer(n);
                let status = peer.mesh.peers(peer.now).into_iter().find(|status| status.id == Some(id(other))).unwrap();
                assert_eq!((status.state, status.instances, status.tries), (PeerState::Up, 1, 0));
                status.outbound
            })
            .to_vec();
        assert_eq!(dialers, if id(a) < id(b) { [true, false] } else { [false, true] }, "the smaller id's dial wins");
    }
}

#[test]
fn the_loser_of_a_tie_break_is_told_only_when_the_winner_is_up() {
    // The peer with the smaller id dials, and is dialed by the other in the same moment.
    let (me, other) = if id(1) < id(2) { (1, 2) } else { (2, 1) };
    let mut peer = Peer::with(me, |config| config.peers = vec![addr(other)]);
    peer.run_for(50);
    let dial = peer.dial();
    let theirs = peer.accept(other);
    let ours = peer.open(other, Some(dial));
    assert!(byes(&peer.said(theirs)).is_empty());
    peer.hear(ours, &Message::Hello(Box::new(Hello { dial: 0, ..hello(other) })));
    assert_eq!(byes(&peer.said(theirs)), [ByeCode::Duplicate]);
    assert!(byes(&peer.said(ours)).is_empty());
    assert_eq!(peer.hung_up(), [theirs]);
    peer.close(theirs);
    peer.converse(600_000, |_, message| content(message));
    assert_eq!(peer.dials(), [], "a peer that is linked is not dialed");
}

#[test]
fn of_two_links_dialed_by_one_side_the_later_dial_stays() {
    let mut peer = Peer::new(1);
    let old = peer.accept_hello(2, Hello { dial: 4, ..hello(2) });
    let new = peer.accept_hello(2, Hello { dial: 5, ..hello(2) });
    assert_eq!(peer.hung_up(), [old]);
    let stale = peer.accept_hello(2, Hello { dial: 3, ..hello(2) });
    assert_eq!(peer.hung_up(), [stale]);
    assert!(byes(&peer.said(new)).is_empty());
    assert_eq!(peer.mesh.status().peers_up, 1);
}

#[test]
fn h_08_six_peers_that_start_at_once_have_one_link_a_pair() {
    let mut world = World::with(6, |n, config| {
        config.peers = (1..=6).filter(|other| *other != n).map(addr).collect();
    });
    world.run_for(1_500);
    for a in 1..=6 {
        for b in a + 1..=6 {
            assert_eq!(world.links_between(a, b), 1, "{a} and {b}");
        }
        assert_eq!(world.peer(a).mesh.status().peers_up, 5);
    }
}

#[test]
fn an_address_where_we_find_ourselves_is_never_dialed_again() {
    let mut world = World::with(1, |_, config| config.peers = vec![addr(1)]);
    world.run_for(5_000);
    assert_eq!(world.links_between(1, 1), 0);
    let selves = world.peer(1).events().into_iter().filter(|event| matches!(event, Event::SelfDialed { .. }));
    assert_eq!(selves.count(), 1);
    let dials = world.peer(1).count("dials_total");
    world.command(1, Command::AddPeer(addr(1)));
    world.command(1, Command::Reconnect(None));
    world.run_for(3_600_000);
    let peer = world.peer(1);
    assert_eq!((dials, peer.count("dials_total")), (1, 1));
    assert!(peer.mesh.peers(peer.now).is_empty(), "we are no peer of ours");
    assert_eq!(peer.mesh.status().addrs_configured, 0);
}

#[test]
fn h_09_another_run_of_our_identity_is_linked_and_told_of() {
    let mut peer = Peer::new(1);
    let twin = Hello { epoch: Epoch(EPOCH.0 + 1), ..hello(1) };
    let link = peer.accept_hello(1, twin);
    assert!(byes(&peer.said(link)).is_empty());
    let other = Instance { id: id(1), epoch: Epoch(EPOCH.0 + 1) };
    assert!(peer.events().contains(&Event::OtherInstance { peer: other }));
    let status = peer.mesh.status();
    assert_eq!((status.other_instances, status.peers_up), (1, 0));
}

#[test]
fn who_finds_no_room_is_told_of_at_most_eight_others() {
    let book = (10..30).map(|n| (record(n), 0)).collect();
    let mut full = config(1);
    full.max_connections = 1;
    let mut peer = Peer::start(1, full, &[], book);
    let first = peer.accept(2);
    let second = peer.accept(3);
    let said = peer.said(second);
    let Some(Message::Bye(bye)) = said.last() else { panic!("{said:?}") };
    assert_eq!((bye.code, bye.records.len()), (ByeCode::Full, 8));
    assert!(bye.records.iter().all(|record| record.id != id(3)), "nobody is told of itself");
    assert_eq!(peer.hung_up(), [second]);
    assert!(byes(&peer.said(first)).is_empty());
}

#[test]
fn a_better_link_to_a_linked_peer_needs_no_room() {
    let mut peer = Peer::with(1, |config| config.max_connections = 1);
    let old = peer.accept_hello(2, Hello { dial: 1, ..hello(2) });
    let new = peer.accept_hello(2, Hello { dial: 2, ..hello(2) });
    assert_eq!(byes(&peer.said(old)), [ByeCode::Duplicate]);
    assert!(byes(&peer.said(new)).is_empty());
}

#[test]
fn versions_that_have_none_in_common_part() {
    check_refused(Peer::new(1), Hello { proto: (2, 9), ..hello(2) }, ByeCode::Version);
    check_refused(Peer::new(1), Hello { proto: (0, 0), ..hello(2) }, ByeCode::Version);
    let mut peer = Peer::new(1);
    peer.accept_hello(2, Hello { proto: (1, 3), ..hello(2) });
    assert_eq!(peer.mesh.status().peers_up, 1);
}

#[test]
fn a_record_of_somebody_else_is_no_introduction() {
    check_refused(Peer::new(1), Hello { record: record(3), ..hello(2) }, ByeCode::Protocol);
}

#[test]
fn the_blocked_and_the_not_allowed_are_refused_and_not_dialed() {
    check_refused(Peer::with(1, |config| config.block = [id(2)].into()), hello(2), ByeCode::Banned);
    check_refused(Peer::with(1, |config| config.allow = [id(3)].into()), hello(2), ByeCode::Banned);
    let mut peer = Peer::with(1, |config| {
        config.allow = [id(2), id(3), id(4)].into();
        config.block = [id(3)].into();
    });
    let link = peer.accept(2);
    peer.hear(link, &Message::Peers(vec![record(3), record(4), record(5)]));
    peer.run_for(1_000);
    let dialed: Vec<_> = peer.dials().into_iter().map(|(_, addr, _)| addr).collect();
    assert_eq!(dialed, [addr(4)]);
}

#[test]
fn h_04_who_says_no_hello_is_hung_up_after_five_seconds() {
    let mut peer = Peer::new(1);
    let link = peer.open(2, None);
    peer.run_for(4_999);
    assert_eq!(peer.hung_up(), []);
    peer.run_for(1);
    assert_eq!(peer.hung_up(), [link]);
}

#[test]
fn a_frame_before_the_hello_and_a_second_hello_end_a_link() {
    let mut peer = Peer::new(1);
    let early = peer.open(2, None);
    peer.hear(early, &Message::View(View { full: true, neighbors: Vec::new(), estimate: 1 }));
    assert_eq!(byes(&peer.said(early)), [ByeCode::Protocol]);
    let twice = peer.accept(3);
    peer.hear(twice, &Message::Hello(Box::new(hello(3))));
    assert_eq!(byes(&peer.said(twice)), [ByeCode::Protocol]);
    assert_eq!(peer.hung_up(), [early, twice]);
}

#[test]
fn w_25_every_goodbye_ends_the_link_and_is_named() {
    let codes = [
        ByeCode::Leaving,
        ByeCode::Restart,
        ByeCode::Full,
        ByeCode::Duplicate,
        ByeCode::SelfLink,
        ByeCode::Network,
        ByeCode::Version,
        ByeCode::Slow,
        ByeCode::Limit,
        ByeCode::Protocol,
        ByeCode::Banned,
        ByeCode::Unknown,
    ];
    for code in codes {
        let mut peer = Peer::new(1);
        let link = peer.accept(2);
        peer.said(link);
        let why = "x".repeat(2_000);
        peer.hear(link, &Message::Bye(Bye { code, why, retry_ms: None, records: Vec::new() }));
        assert_eq!(peer.hung_up(), [link]);
        let ends = peer.ends();
        assert!(ends.len() == 1 && ends[0].contains(code.name()), "{ends:?}");
        assert!(ends[0].len() < 300, "the reason is cut");
        assert!(peer.said(link).is_empty(), "nothing is answered");
        peer.say("nobody hears this");
        assert!(peer.said(link).is_empty());
    }
}

#[test]
fn leaving_says_goodbye_to_all_and_dials_nobody() {
    let mut peer = Peer::with(1, |config| config.peers = vec![addr(9)]);
    peer.run_for(50);
    let dial = peer.dial();
    let links: Vec<LinkId> = (2..=6).map(|n| peer.accept(n)).collect();
    let waiting = peer.open(7, None);
    peer.command(Command::Leave);
    for link in links.iter().chain([&waiting]) {
        assert_eq!(byes(&peer.said(*link)), [ByeCode::Leaving]);
    }
    assert_eq!(peer.hung_up().len(), 6);
    peer.publish(7, vec![draft("too late")]);
    assert_eq!(peer.published(), [(7, vec![Err(Refusal::Stopping)])]);
    peer.fail_dial(dial, DialFailure::Unreachable);
    links.into_iter().for_each(|link| peer.close(link));
    peer.run_for(600_000);
    assert_eq!(peer.dials(), []);
}

#[test]
fn who_left_is_known_to_be_gone_at_once() {
    let mut world = World::meshed(3);
    world.command(1, Command::Leave);
    world.run_for(50);
    for n in 2..=3 {
        let peer = world.peer(n);
        assert_eq!(peer.mesh.status().peers_up, 1);
        assert!(peer.ends().iter().any(|end| end.contains("leaving")));
    }
}

#[test]
fn a_newcomer_with_one_address_is_linked_to_all_within_a_second() {
    let mut world = World::meshed(5);
    let newcomer = Peer::with(6, |config| config.peers = vec![addr(3)]);
    world.add(6, newcomer);
    world.run_for(1_000);
    for n in 1..=5 {
        assert_eq!(world.links_between(6, n), 1, "{n}");
    }
}

#[test]
fn a_ping_of_the_user_is_answered_with_the_round_trip_time() {
    let mut world = World::meshed(2);
    world.command(1, Command::Ping { token: 7, peer: id(2) });
    world.run_for(100);
    assert_eq!(world.peer(1).ponged(), [(7, Some(20_000))]);
}

#[test]
fn a_ping_of_the_user_never_stays_unanswered() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.command(Command::Ping { token: 1, peer: id(3) });
    assert_eq!(peer.ponged(), [(1, None)], "nobody is there");
    peer.command(Command::Ping { token: 2, peer: id(2) });
    assert_eq!(peer.ponged(), []);
    peer.close(link);
    assert_eq!(peer.ponged(), [(2, None)], "the link is gone");
}

#[test]
fn a_link_that_is_dialed_beside_an_old_one_replaces_it() {
    // Nobody dials whom it is linked to: the old link is dead on the other side, which came back as the same run.
    let mut peer = Peer::new(1);
    let old = peer.accept_hello(2, Hello { dial: 1, ..hello(2) });
    peer.converse(11_000, |_, message| content(message));
    let new = peer.accept_hello(2, Hello { dial: 2, ..hello(2) });
    assert_eq!(peer.hung_up(), [old]);
    assert!(byes(&peer.said(new)).is_empty());
    assert_eq!(peer.mesh.peers(peer.now)[0].epoch, Some(run(2).epoch));
}

#[test]
fn a_restarted_peer_is_another_run_beside_its_old_link_until_that_is_found_dead() {
    let mut peer = Peer::new(1);
    peer.accept(2);
    let again = Epoch(EPOCH.0 + 1);
    let newer = Record::sign(&super::kit::key(2), 6, &[addr(2)], "peer2", again);
    let new = peer.accept_hello(2, Hello { epoch: again, record: newer, ..hello(2) });
    assert!(byes(&peer.said(new)).is_empty());
    assert_eq!(peer.mesh.status().peers_up, 1);
    assert_eq!(peer.mesh.peers(peer.now)[0].instances, 2);
    peer.converse(40_000, |link, message| if link == new { content(message) } else { Vec::new() });
    assert_eq!(peer.mesh.peers(peer.now)[0].instances, 1);
    assert!(byes(&peer.said(new)).is_empty());
}
