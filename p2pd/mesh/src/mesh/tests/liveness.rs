//! Who is still there, and how soon it is known who is not.

use super::disk::Mood;
use super::kit::{Peer, ROUND_TRIP_MS, at, chain, content, id, pushed, run};
use crate::effect::Event;
use crate::id::LinkId;
use crate::input::{Command, Input};
use crate::status::PeerState;
use crate::wire::message::{Message, Pong};

/// A link whose greetings are over, to a peer that answered so far.
fn linked(peer: &mut Peer, n: u8) -> LinkId {
    let link = peer.accept(n);
    peer.converse(2_000, |_, message| content(message));
    link
}

/// The moment, in milliseconds from now, at which a peer goes down; it must within `ms`.
#[track_caller]
fn dead_within(peer: &mut Peer, ms: u64) -> u64 {
    let begin = peer.now_ms();
    while peer.now_ms() < begin + ms {
        if peer.events().iter().any(|event| matches!(event, Event::LinkDown { .. })) {
            return peer.now_ms() - begin;
        }
        peer.run_for(100);
    }
    panic!("no verdict within {ms} ms");
}

fn is_pinged(messages: &[Message]) -> bool {
    messages.iter().any(|message| matches!(message, Message::Ping(_)))
}

#[test]
fn n_06_an_idle_link_that_died_is_found_by_the_heartbeat() {
    let mut peer = Peer::new(1);
    linked(&mut peer, 2);
    let found = dead_within(&mut peer, 60_000);
    assert!((30_000..=39_000).contains(&found), "found after {found} ms");
}

#[test]
fn n_06_a_link_that_died_while_we_send_is_found_within_six_seconds() {
    let mut peer = Peer::new(1);
    linked(&mut peer, 2);
    peer.say("is anybody there?");
    let found = dead_within(&mut peer, 6_000);
    assert!(found > 1_000, "but not before it had its time: {found} ms");
}

#[test]
fn n_06_talking_on_does_not_delay_the_verdict() {
    // The other process is stopped: its kernel takes all bytes. We say something again and again.
    for pause in [100, 500, 900, 1_100, 1_500, 3_000] {
        let mut peer = Peer::new(1);
        linked(&mut peer, 2);
        let begin = peer.now_ms();
        while !peer.events().iter().any(|event| matches!(event, Event::LinkDown { .. })) {
            peer.say("x");
            peer.run_for(pause);
            let passed = peer.now_ms() - begin;
            assert!(passed < 10_000, "saying something every {pause} ms keeps a dead link for {passed} ms");
        }
    }
}

#[test]
fn n_06_a_link_whose_socket_takes_nothing_is_judged_too() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.block(link);
    for _ in 0..20 {
        peer.say(&"x".repeat(16_000));
    }
    dead_within(&mut peer, 60_000);
}

#[test]
fn a_peer_that_reads_slowly_but_answers_is_not_dead() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.block(link);
    for _ in 0..20 {
        peer.say(&"x".repeat(16_000));
    }
    // It takes a little every second, and says something meanwhile.
    for n in 0..60 {
        peer.run_for(1_000);
        peer.hear(link, &pushed(&chain(2, 1_000 + n, 1, &["still here"])));
    }
    assert_eq!(peer.ends(), Vec::<String>::new());
}

#[test]
fn a_store_that_hangs_brings_no_verdict_over_links_that_nobody_reads() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.store.mood = Mood::Waits;
    let text = "x".repeat(16_000);
    for envelope in chain(3, 7, 300, &[text.as_str(); 4]) {
        if peer.mesh.is_saturated() {
            break;
        }
        peer.hear(link, &pushed(&[envelope]));
    }
    assert!(peer.mesh.is_saturated());
    peer.events();
    // The driver reads no link now: whatever comes in this minute waits, the pong too.
    peer.command(Command::Ping { token: 1, peer: id(2) });
    peer.run_for(60_000);
    assert_eq!(peer.ends(), Vec::<String>::new());
    while peer.store.waiting() > 0 {
        peer.store_answers(Mood::Takes);
    }
    peer.converse(60_000, |_, message| content(message));
    assert_eq!(peer.mesh.status().peers_up, 1);
}

#[test]
fn a_peer_whose_frame_takes_long_on_a_slow_line_is_not_dead() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.say("is anybody there?");
    // Its pong waits behind the frame, of which more comes all the time.
    for _ in 0..60 {
        peer.said(link);
        peer.handle(Input::Receiving(link));
        let said = peer.said(link);
        assert!(said.iter().any(|message| matches!(message, Message::Pong(pong) if pong.n == 0)), "{said:?}");
        peer.run_for(1_000);
    }
    assert_eq!(peer.mesh.status().peers_up, 1);
    let found = dead_within(&mut peer, 40_000);
    assert!(found > 1_000, "not in the moment in which it stops: {found} ms");
}

#[test]
fn who_hears_of_a_suspect_asks_it_at_once() {
    let mut peer = Peer::new(3);
    let link = linked(&mut peer, 2);
    let teller = linked(&mut peer, 1);
    peer.take_all_said();
    peer.hear(teller, &Message::Suspect(run(2)));
    assert!(is_pinged(&peer.said(link)));
    peer.hear(teller, &Message::Suspect(run(9)));
    assert!(!is_pinged(&peer.said(teller)), "whom nobody is linked to, nobody asks");
}

#[test]
fn silence_is_seen_as_suspicion_before_it_is_death() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.say("x");
    let mut seen = Vec::new();
    for _ in 0..60 {
        peer.run_for(100);
        let state = peer.mesh.peers(peer.now)[0].state;
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    assert_eq!(seen[..2], [PeerState::Up, PeerState::Suspect]);
    assert!(!seen[2..].contains(&PeerState::Up), "{seen:?}");
    let events = peer.events();
    let suspected = events.iter().position(|event| *event == Event::Suspected { peer: run(2) }).unwrap();
    let down = events.iter().position(|event| matches!(event, Event::LinkDown { link: l, .. } if *l == link)).unwrap();
    assert!(suspected < down);
}

#[test]
fn the_others_hear_of_a_silent_death_by_a_suspect_frame() {
    let mut peer = Peer::new(1);
    let dead = linked(&mut peer, 2);
    let other = linked(&mut peer, 3);
    peer.take_all_said();
    peer.say("x");
    let mut suspects = Vec::new();
    peer.converse(6_000, |link, message| {
        if let Message::Suspect(who) = message {
            suspects.push((link, *who));
        }
        if link == dead { Vec::new() } else { content(message) }
    });
    assert_eq!(suspects, [(other, run(2))]);
}

#[test]
fn nobody_is_judged_by_a_loop_that_slept() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.say("x");
    peer.run_for(1_100);
    let said = peer.said(link);
    let ping = said.iter().find(|message| matches!(message, Message::Ping(_))).unwrap();
    // Our machine was suspended for an hour.
    peer.timeout_at(at(peer.now_ms() + 3_600_000));
    assert_eq!(peer.ends(), Vec::<String>::new());
    peer.run_for(1_000);
    content(ping).iter().for_each(|pong| peer.hear(link, pong));
    peer.converse(5_000, |_, message| content(message));
    assert_eq!(peer.mesh.status().peers_up, 1);
}

#[test]
fn any_frame_is_life_and_a_busy_link_needs_no_heartbeat() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.converse(3_000, |_, message| content(message));
    let before = peer.count("heartbeats_sent_total");
    for _ in 0..12 {
        peer.run_for(20_000);
        peer.hear(link, &Message::View(crate::wire::message::View { full: true, neighbors: Vec::new(), estimate: 2 }));
    }
    assert_eq!(peer.count("heartbeats_sent_total"), before);
    assert_eq!(peer.ends(), Vec::<String>::new());
}

#[test]
fn round_trip_time_and_clock_of_the_other_are_shown() {
    let mut peer = Peer::new(1);
    peer.accept(2);
    peer.converse(500, |_, message| match message {
        // Its clock is a minute ahead.
        Message::Ping(ping) => {
            vec![Message::Pong(Pong { n: ping.n, t: ping.t, r: ping.t + 60_000, digest: ping.digest })]
        }
        _ => Vec::new(),
    });
    let status = &peer.mesh.peers(peer.now)[0];
    assert_eq!((status.id, status.rtt_us), (Some(id(2)), Some(ROUND_TRIP_MS * 1_000)));
    assert!((59_900_000..=60_100_000).contains(&status.clock_offset_us), "{}", status.clock_offset_us);
}
