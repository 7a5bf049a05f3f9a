//! Who says too much is not listened to for a while, loses nothing by it, and is banned only if it goes on.

use super::hostile::{is_banned, linked};
use super::kit::{EPOCH, Peer, at, chain, content, heads, other_digest, pushed, repaired, run};
use super::world::World;
use crate::envelope::VerifiedEnvelope;
use crate::id::{FeedId, LinkId, Seq};
use crate::input::Input;
use crate::limits::{DIGEST_RATE, HAVE_RATE, HEADS_RATE, PRUNE_RATE, SUSPECT_RATE, VIEW_RATE, WANT_RATE};
use crate::wire::frame::FrameError;
use crate::wire::message::{ByeCode, Have, Message, Ping, Reserved, View, Want};

fn have(feed: &[VerifiedEnvelope]) -> Message {
    let last = feed.last().expect("a feed that is announced is not empty");
    Message::Have(vec![Have { feed: last.feed_id(), head: last.last(), floor: Seq(1) }])
}

fn want(feed: FeedId, from: u64) -> Message {
    Message::Want(Want { feed, ranges: vec![(Seq(from), None)], push: false })
}

fn view() -> Message {
    Message::View(View { full: true, neighbors: Vec::new(), estimate: 1 })
}

fn prune(n: u32) -> Message {
    let feeds = (0..n).map(|n| FeedId(u128::from(n).to_be_bytes()));
    Message::Prune(feeds.collect())
}

fn say(peer: &mut Peer, link: LinkId, message: &Message, times: u32) {
    (0..times).for_each(|_| peer.hear(link, message));
}

#[test]
fn w_22_every_kind_of_control_frame_has_a_burst_beyond_which_it_is_ignored_and_costs_points() {
    let frames = [
        (have(&chain(2, 7, 1, &["x"])), HAVE_RATE.burst),
        (want(FeedId([7; 16]), 1), WANT_RATE.burst),
        (prune(256), PRUNE_RATE.burst / 256),
        (view(), VIEW_RATE.burst),
        (Message::Suspect(run(9)), SUSPECT_RATE.burst),
        (heads(&[]), HEADS_RATE.burst),
    ];
    for (message, burst) in frames {
        let mut peer = Peer::new(1);
        let link = linked(&mut peer, 2);
        // Coming up took some of what may come at once, and two seconds gave it back.
        say(&mut peer, link, &message, burst);
        assert_eq!((peer.count("frames_over_rate_total"), peer.offences()), (0, Vec::new()), "{message:?}");
        say(&mut peer, link, &message, 100);
        assert!((99..=100).contains(&peer.count("frames_over_rate_total")), "{message:?}");
        assert_eq!(peer.offences().len(), 1, "one lump is one offence: {message:?}");
        assert_eq!(peer.mesh.status().peers_up, 1);
    }
}

#[test]
fn w_22_pings_without_end_are_answered_and_not_all_compared() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let digest = peer.mesh.status().digest;
    let times = DIGEST_RATE.burst + 100;
    for n in 1..=u64::from(times) {
        peer.hear(link, &Message::Ping(Ping { n, t: n, digest }));
    }
    let pongs = peer.said(link).into_iter().filter(|message| matches!(message, Message::Pong(_)));
    assert_eq!(pongs.count(), times as usize);
    assert!(peer.count("digests_ignored_total") >= 99);
    assert_eq!(peer.offences(), Vec::<String>::new());
    // What is ignored now is compared in a while.
    peer.run_for(2_000);
    assert!(peer.said(link).iter().any(|message| matches!(message, Message::Ping(_))));
}

#[test]
fn w_22_frames_of_later_protocols_have_rates_too() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    (0..1_000).for_each(|_| peer.hear_bytes(link, br#"{"type":"shuffle"}"#.as_slice().into()));
    assert!(peer.count("frames_over_rate_total") > 900);
    assert_eq!(peer.offences().len(), 1);
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    say(&mut peer, link, &Message::Unknown, 0);
    (0..1_000).for_each(|_| peer.hear_bytes(link, br#"{"type":"range"}"#.as_slice().into()));
    assert_eq!((peer.count("frames_over_rate_total"), peer.offences().len()), (0, 0), "{:?}", Reserved::Range);
}

#[test]
fn w_22_who_never_stops_is_banned_and_who_stopped_is_heard_again() {
    let mut peer = Peer::new(1);
    let (flood, honest) = (linked(&mut peer, 2), linked(&mut peer, 4));
    // Twice as much as it may, for a quarter of the time that ends in a ban.
    for _ in 0..5 {
        say(&mut peer, flood, &want(FeedId([7; 16]), 1), WANT_RATE.burst);
        peer.converse(1_000, |_, message| content(message));
    }
    assert_eq!(peer.mesh.status().peers_up, 2);
    peer.converse(30_000, |_, message| content(message));
    peer.say("hello");
    peer.take_all_said();
    peer.hear(flood, &want(run(1).feed_id(), 1));
    assert_eq!(super::kit::texts_said(&peer.said(flood)), ["hello"]);

    for _ in 0..30 {
        say(&mut peer, flood, &want(FeedId([7; 16]), 1), 2 * WANT_RATE.burst);
        peer.converse(1_000, |link, message| if link == honest { content(message) } else { Vec::new() });
    }
    assert_eq!(peer.mesh.status().peers_up, 1, "the one that never stops is hung up, the other one is not");
    let again = peer.accept(2);
    assert!(is_banned(&peer.said(again)));
}

#[test]
fn w_22_an_announcement_that_was_ignored_is_found_when_digests_are_compared() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 2, &["x"]);
    peer.hear(link, &pushed(&feed[..1]));
    say(&mut peer, link, &have(&feed[..1]), HAVE_RATE.burst + 10);
    assert!(peer.count("frames_over_rate_total") > 0);
    peer.take_all_said();
    peer.hear(link, &have(&feed));
    assert_eq!(peer.mesh.status().missing_posts, 0, "it was ignored");
    let begun = peer.now_ms();
    let mut healed = None;
    peer.converse(10_000, |_, message| match message {
        Message::Ping(ping) => vec![other_digest(ping)],
        Message::Heads(_) => vec![heads(std::slice::from_ref(&feed))],
        Message::Want(_) => {
            healed.get_or_insert(());
            vec![repaired(&feed[1..])]
        }
        _ => Vec::new(),
    });
    assert!(healed.is_some());
    assert_eq!(peer.history(), ["x", "x"]);
    assert!(peer.now_ms() - begun <= 10_000, "long before a heartbeat");
}

#[test]
fn w_22_questions_that_were_ignored_are_asked_again_until_everything_is_there() {
    let mut world = World::meshed(2);
    for n in 0..5 {
        world.say(1, &format!("early {n}"));
    }
    world.run_for(2_000);
    // As if two had asked for a thousand things in one moment.
    let link = world.peer(1).mesh.links.keys().next().copied().unwrap();
    let now = world.peer(1).now;
    let frame = want(FeedId([7; 16]), 1).encode().slice(crate::wire::frame::PREFIX_LEN..);
    for _ in 0..=WANT_RATE.burst {
        world.peer(1).mesh.handle(Input::Frame { link, frame: frame.clone() }, now);
    }
    assert!(world.peer(1).count("frames_over_rate_total") > 0);
    // Two loses everything that is pushed, so it has to ask.
    world.silence(1, 2);
    world.say(1, "lost on the way");
    world.run_for(500);
    world.heal();
    world.say(1, "behind a gap");
    world.run_for(5_000);
    let history = world.peer(2).history();
    assert_eq!(history[5..], ["lost on the way", "behind a gap"]);
    assert_eq!(world.peer(2).mesh.status().peers_up, 1);
}

#[test]
fn w_22_everything_that_came_while_we_were_stopped_is_one_offence_at_most() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feed = chain(2, EPOCH.0, 1, &["x"]);
    peer.hear(link, &pushed(&feed));
    // Five minutes of what an honest peer says while the mesh is at work, all read in one moment.
    peer.now = at(peer.now_ms() + 300_000);
    for _ in 0..300 {
        say(&mut peer, link, &have(&feed), 10);
        say(&mut peer, link, &view(), 1);
        say(&mut peer, link, &prune(5), 10);
    }
    assert!(peer.offences().len() <= 1);
    assert_eq!(peer.mesh.status().peers_up, 1);
}

#[test]
fn more_open_questions_than_we_answer_at_a_time_are_nobodys_fault() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let other = linked(&mut peer, 4);
    for epoch in 1..=80 {
        peer.hear(other, &pushed(&chain(3, epoch, 20, &["x"])));
    }
    // Nothing goes out, so nothing is answered.
    peer.block(link);
    (0..5).for_each(|_| peer.say(&"x".repeat(16_000)));
    for epoch in 1..=80 {
        let feed = chain(3, epoch, 1, &["x"])[0].feed_id();
        let ranges = (0..10).map(|n| (Seq(2 * n + 1), Some(Seq(2 * n + 1)))).collect();
        peer.hear(link, &Message::Want(Want { feed, ranges, push: false }));
    }
    assert_eq!(peer.offences(), Vec::<String>::new());
    assert_eq!(peer.count("wants_dropped_total"), 80 - crate::limits::WANTS_PER_LINK_MAX as u64);
}

#[test]
fn w_01_a_hostile_length_is_told_with_a_goodbye_and_the_second_one_is_a_ban() {
    for (error, code) in [
        (FrameError::TooLong { len: 1 << 31, limit: 131_072 }, ByeCode::Limit),
        (FrameError::TooShort { len: 1 }, ByeCode::Protocol),
    ] {
        let mut peer = Peer::new(1);
        for code in [code, ByeCode::Banned] {
            let link = peer.accept(2);
            peer.said(link);
            peer.handle(Input::BadFrame { link, error });
            let said = peer.said(link);
            let Some(Message::Bye(bye)) = said.last() else { panic!("{said:?}") };
            assert_eq!(bye.code, code);
            assert_eq!(peer.hung_up(), [link]);
            // The link room says it once more when the link is gone.
            peer.handle(Input::BadFrame { link, error });
            peer.close(link);
        }
        assert_eq!(peer.offences().len(), 2);
    }
}

#[test]
fn w_01_a_hostile_length_before_the_hello_is_told_too() {
    let mut peer = Peer::new(1);
    let link = peer.open(2, None);
    peer.said(link);
    peer.handle(Input::BadFrame { link, error: FrameError::TooLong { len: 5_000, limit: 4_096 } });
    assert!(matches!(peer.said(link).last(), Some(Message::Bye(bye)) if bye.code == ByeCode::Limit));
}
