//! Finding what is missing, asking for it, and serving who asks.

use std::collections::{BTreeMap, VecDeque};

use super::kit::{
    EPOCH, Peer, addr, chain, config, content, envelope, heads, id, other_digest, pushed, repaired, texts_said,
};
use super::world::World;
use crate::envelope::VerifiedEnvelope;
use crate::id::{FeedId, LinkId, Seq};
use crate::limits::{HEADS_PER_FRAME_MAX, IN_FLIGHT_BYTES_MAX, REPAIRS_PER_LINK_MAX};
use crate::wire::message::{Have, Message, Want};

fn wants(messages: &[Message]) -> Vec<&Want> {
    messages.iter().filter_map(|message| if let Message::Want(want) = message { Some(want) } else { None }).collect()
}

fn have(feed: FeedId, head: u64) -> Message {
    Message::Have(vec![Have { feed, head: Seq(head), floor: Seq(1) }])
}

fn linked(peer: &mut Peer, n: u8) -> LinkId {
    let link = peer.accept(n);
    peer.converse(2_000, |_, message| content(message));
    peer.take_all_said();
    link
}

/// The posts of envelopes that travelled to a peer.
fn posts_sent_to(world: &World, n: u8) -> usize {
    let to = world.frames.iter().filter(|(_, to, _)| *to == n);
    to.map(|(_, _, frame)| texts_said(std::slice::from_ref(frame)).len()).sum()
}

#[test]
fn n_01_after_a_partition_both_halves_hold_the_same() {
    let mut world = World::meshed(4);
    let across = [(1, 3), (1, 4), (2, 3), (2, 4)];
    for (a, b) in across {
        world.silence(a, b);
        world.silence(b, a);
    }
    for n in 1..=4 {
        world.say(n, &format!("of {n}"));
    }
    world.run_for(60_000);
    assert_eq!(world.peer(1).mesh.status().peers_up, 1);
    assert_eq!(world.peer(1).history().len(), 2);
    world.heal();
    world.run_for(31_000);
    world.run_for(5_000);
    for n in 1..=4 {
        let status = world.peer(n).mesh.status();
        assert_eq!((status.peers_up, status.posts, status.missing_posts), (3, 4, 0), "peer {n}");
    }
    let digests: Vec<_> = (1..=4).map(|n| world.peer(n).mesh.status().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn n_05_a_link_that_is_reset_while_posts_travel_loses_none() {
    let mut world = World::meshed(3);
    for n in 0..20 {
        world.say(1, &format!("{n}"));
        world.run_for(5);
        if n % 5 == 2 {
            world.cut(1, 2);
        }
    }
    world.run_for(5_000);
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    for n in 1..=3 {
        assert_eq!(world.peer(n).history(), expected, "peer {n}");
    }
}

#[test]
fn a_newcomer_gets_the_whole_history_once() {
    let mut world = World::meshed(3);
    for n in 0..30 {
        world.say(n % 3 + 1, &format!("{n}"));
        world.run_for(50);
    }
    world.run_for(3_000);
    world.frames.clear();
    world.add(4, Peer::with(4, |config| config.peers = vec![addr(1)]));
    world.run_for(3_000);
    assert_eq!(world.peer(4).mesh.status().posts, 30);
    assert_eq!(posts_sent_to(&world, 4), 30, "no post twice");
    assert_eq!((1..=3).map(|n| posts_sent_to(&world, n)).sum::<usize>(), 0);
}

#[test]
fn a_history_of_many_runs_is_compared_in_parts_and_arrives_whole() {
    let runs = 2 * HEADS_PER_FRAME_MAX as u64 + 40;
    let disk: Vec<VerifiedEnvelope> = (1..=runs).flat_map(|epoch| chain(9, epoch, 1, &["old"])).collect();
    let mut world = World::new(1);
    world.add(2, Peer::start(2, config(2), &disk, Vec::new()));
    world.command(1, crate::input::Command::AddPeer(addr(2)));
    world.run_for(60_000);
    let status = world.peer(1).mesh.status();
    assert_eq!((status.posts, status.missing_posts), (runs, 0));
    assert_eq!(status.digest, world.peer(2).mesh.status().digest);
}

#[test]
fn a_repair_from_disk_fits_its_frames_whatever_sizes_meet() {
    let mut disk = chain(3, 7, 200, &["hi"]);
    let prev = disk.last().map(|last| last.hash());
    let big = "y".repeat(16_000);
    disk.push(super::kit::sealed(3, 7, 201, prev, &[big.as_str(); 4]));
    let expected: Vec<String> =
        disk.iter().flat_map(|held| &held.body().posts).map(|post| post.text.to_string()).collect();
    let mut peer = Peer::start(1, config(1), &disk, Vec::new());
    let link = peer.accept(2);
    peer.said(link);
    let ranges = vec![(Seq(1), Some(Seq(204)))];
    peer.hear(link, &Message::Want(Want { feed: disk[0].feed_id(), ranges, push: false }));
    // The harness reads every frame and knows its limit.
    assert_eq!(texts_said(&peer.said(link)), expected);
}

#[test]
fn what_comes_behind_a_gap_waits_and_only_the_gap_is_asked_for() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 5, &["x"]);
    peer.hear(link, &pushed(&feed[..1]));
    peer.hear(link, &pushed(&feed[3..4]));
    peer.run_for(99);
    assert!(wants(&peer.said(link)).is_empty(), "the push may just be out of order");
    peer.run_for(500);
    let said = peer.said(link);
    assert_eq!(wants(&said).iter().map(|want| &want.ranges).collect::<Vec<_>>(), [&vec![(Seq(2), Some(Seq(3)))]]);
    assert_eq!(peer.delivered().len(), 1);
    peer.hear(link, &repaired(&feed[1..3]));
    assert_eq!(super::kit::texts(&peer.delivered()).len(), 3);
    assert_eq!(peer.mesh.status().posts, 4);
}

#[test]
fn who_does_not_answer_is_followed_by_the_next_who_holds_it() {
    let mut peer = Peer::new(1);
    let links = [2, 4, 5].map(|n| linked(&mut peer, n));
    let feed = chain(3, 7, 2, &["x"]);
    links.iter().for_each(|link| peer.hear(*link, &have(feed[0].feed_id(), 2)));
    let mut asked = Vec::new();
    peer.converse(5_000, |link, message| {
        let is_want = matches!(message, Message::Want(_));
        asked.extend(is_want.then_some(link));
        // The third one asked has it.
        if is_want && asked.len() == 3 { vec![repaired(&feed)] } else { content(message) }
    });
    asked.sort();
    assert_eq!(asked, links);
    assert_eq!(peer.history(), ["x", "x"]);
    assert_eq!(peer.offences(), Vec::<String>::new());
}

#[test]
fn who_has_nothing_of_it_any_more_is_followed_at_once() {
    let mut peer = Peer::new(1);
    let links = [2, 4].map(|n| linked(&mut peer, n));
    let feed = chain(3, 7, 2, &["x"])[0].feed_id();
    links.iter().for_each(|link| peer.hear(*link, &have(feed, 2)));
    let first = links.into_iter().find(|link| !wants(&peer.said(*link)).is_empty()).unwrap();
    let other = links.into_iter().find(|link| *link != first).unwrap();
    peer.hear(first, &Message::Gone { feed, floor: Seq(9) });
    peer.run_for(1);
    assert_eq!(wants(&peer.said(other)).len(), 1);
}

#[test]
fn what_was_asked_of_a_link_that_ends_is_asked_of_another_at_once() {
    let mut peer = Peer::new(1);
    let links = [2, 4].map(|n| linked(&mut peer, n));
    let feed = chain(3, 7, 2, &["x"])[0].feed_id();
    links.iter().for_each(|link| peer.hear(*link, &have(feed, 2)));
    let first = links.into_iter().find(|link| !wants(&peer.said(*link)).is_empty()).unwrap();
    let other = links.into_iter().find(|link| *link != first).unwrap();
    peer.close(first);
    assert_eq!(wants(&peer.said(other)).len(), 1);
}

#[test]
fn below_the_floor_nothing_is_served_and_that_is_said() {
    let disk = chain(3, 7, 6, &["x"]);
    let feed = disk[0].feed_id();
    let mut peer = Peer::start(1, config(1), &disk[2..], Vec::new());
    let link = linked(&mut peer, 2);
    peer.hear(link, &Message::Want(Want { feed, ranges: vec![(Seq(1), Some(Seq(4)))], push: false }));
    let said = peer.said(link);
    assert!(said.contains(&Message::Gone { feed, floor: Seq(3) }), "{said:?}");
    assert_eq!(texts_said(&said), ["x", "x"]);
}

#[test]
fn heads_tell_each_side_what_the_other_lacks() {
    let both = chain(3, 7, 2, &["both"]);
    let ours = chain(4, 7, 3, &["ours"]);
    let theirs = chain(5, 7, 4, &["theirs"]);
    let disk: Vec<_> = both.iter().chain(&ours).cloned().collect();
    let mut peer = Peer::start(1, config(1), &disk, Vec::new());
    let link = peer.accept(2);
    peer.said(link);
    peer.hear(link, &heads(&[both, ours[..1].to_vec(), theirs.clone()]));
    peer.run_for(1);
    let said = peer.said(link);
    let asked: Vec<FeedId> = wants(&said).iter().map(|want| want.feed).collect();
    assert_eq!(asked, [theirs[0].feed_id()]);
    assert!(said.contains(&have(ours[0].feed_id(), 3)), "{said:?}");
}

#[test]
fn the_first_different_digest_is_answered_by_heads_and_an_equal_one_by_nothing() {
    let disk = chain(3, 7, 2, &["x"]);
    let mut peer = Peer::start(1, config(1), &disk, Vec::new());
    let (differs, equal) = (peer.accept(2), peer.accept(4));
    let mut heads = Vec::new();
    peer.converse(500, |link, message| {
        if matches!(message, Message::Heads(_)) {
            heads.push(link);
        }
        match message {
            Message::Ping(ping) if link == differs => vec![other_digest(ping)],
            _ => content(message),
        }
    });
    assert_eq!(heads, [differs]);
    let status = peer.mesh.peers(peer.now);
    let behind = |n| status.iter().find(|status| status.id == Some(id(n))).unwrap().behind;
    assert_eq!((behind(2), behind(4)), (2, 0), "an equal digest says that it holds all");
    assert_ne!(equal, differs);
}

#[test]
fn a_slow_link_is_not_asked_faster_than_it_answers_and_not_blamed() {
    // Sixteen feeds of twenty envelopes of 60 KB, behind 2 Mbit/s: a frame takes 250 ms, and all are served in turn.
    let text = "y".repeat(15_000);
    let feeds: Vec<_> = (0..16).map(|n| chain(3, 1_000 + n, 20, &[text.as_str(); 4])).collect();
    let by_id: BTreeMap<FeedId, &Vec<VerifiedEnvelope>> = feeds.iter().map(|feed| (feed[0].feed_id(), feed)).collect();
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.hear(link, &heads(&feeds));
    let (mut serving, mut sent) = (VecDeque::<(FeedId, u64, u64)>::new(), 0);
    let end = peer.now_ms() + 180_000;
    while peer.mesh.status().posts < 16 * 80 && peer.now_ms() < end {
        for message in peer.said(link) {
            match message {
                Message::Want(want) => {
                    let ranges = want.ranges.iter().map(|(from, to)| (want.feed, from.0, to.map_or(80, |to| to.0)));
                    let new: Vec<_> = ranges.filter(|range| !serving.contains(range)).collect();
                    serving.extend(new);
                }
                Message::Ping(ping) => peer.hear(link, &other_digest(&ping)),
                _ => (),
            }
        }
        if let Some((feed, from, to)) = serving.pop_front() {
            let next = &by_id[&feed][(from as usize - 1) / 4];
            peer.hear(link, &repaired(std::slice::from_ref(next)));
            sent += 1;
            serving.extend((next.last().0 < to).then_some((feed, next.last().0 + 1, to)));
        }
        peer.effects
            .retain(|effect| !matches!(effect, crate::effect::Effect::Deliver(_) | crate::effect::Effect::Append(_)));
        peer.run_for(250);
    }
    assert_eq!(peer.offences(), Vec::<String>::new());
    assert_eq!(peer.mesh.status().posts, 16 * 80);
    assert!(sent < 400, "{sent} frames for 320 envelopes");
}

#[test]
fn questions_that_our_own_slow_socket_holds_back_are_not_held_against_the_other_side() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.block(link);
    while peer.unwritten(link) < IN_FLIGHT_BYTES_MAX {
        peer.say(&"x".repeat(16_000));
    }
    let feeds: Vec<_> = (0..16).map(|n| chain(3, 1_000 + n, 2, &["x"])).collect();
    for _ in 0..40 {
        peer.hear(link, &heads(&feeds));
        peer.run_for(500);
    }
    assert_eq!(peer.offences(), Vec::<String>::new());
    peer.take_all_said();
    peer.unblock(link);
    let said = peer.said(link);
    let mut asked: Vec<FeedId> = wants(&said).iter().map(|want| want.feed).collect();
    assert!(asked.len() <= 2 * REPAIRS_PER_LINK_MAX, "the same question {} times", asked.len());
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), feeds.len());
}

#[test]
fn a_link_is_asked_for_sixteen_feeds_at_a_time() {
    let feeds: Vec<_> = (0..40).map(|n| chain(3, 1_000 + n, 1, &["x"])).collect();
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.hear(link, &heads(&feeds));
    let said = peer.said(link);
    assert_eq!(wants(&said).len(), REPAIRS_PER_LINK_MAX);
    let first = wants(&said)[0].feed;
    peer.hear(link, &repaired(feeds.iter().find(|feed| feed[0].feed_id() == first).unwrap()));
    assert_eq!(wants(&peer.said(link)).len(), 1, "an answer makes room for the next question");
}

#[test]
fn a_restarted_peer_brings_the_old_history_and_its_new_words() {
    let old = chain(2, EPOCH.0 - 10, 3, &["old"]);
    let mut world = World::new(1);
    world.add(2, Peer::start(2, config(2), &old, Vec::new()));
    world.command(1, crate::input::Command::AddPeer(addr(2)));
    world.run_for(1_000);
    world.say(2, "new");
    world.run_for(100);
    assert_eq!(world.peer(1).history(), ["old", "old", "old", "new"]);
}

#[test]
fn who_pushed_late_what_was_asked_elsewhere_is_not_delivered_twice() {
    let mut peer = Peer::new(1);
    let links = [2, 4].map(|n| linked(&mut peer, n));
    let first = envelope(3, 7, 1, None, "x");
    peer.hear(links[0], &have(first.feed_id(), 1));
    peer.hear(links[1], &pushed(std::slice::from_ref(&first)));
    peer.hear(links[0], &repaired(std::slice::from_ref(&first)));
    assert_eq!(peer.delivered().len(), 1);
    assert_eq!(peer.mesh.status().missing_posts, 0);
}
