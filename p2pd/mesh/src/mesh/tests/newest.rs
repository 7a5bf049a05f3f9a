//! Far behind: the newest comes first, then the rest backwards, as far down as anybody holds it.

use super::kit::{Peer, addr, chain, config, content, id, pushed, repaired, texts, texts_said};
use super::world::World;
use crate::effect::Delivery;
use crate::envelope::VerifiedEnvelope;
use crate::feed::{Runs, StoredFeed};
use crate::id::{FeedId, LinkId, Seq};
use crate::input::{Command, Input};
use crate::limits::RUNS_PER_FEED_MAX;
use crate::wire::message::{Digest, Have, Message, Ping, Pong, Want};

/// More than this many posts behind, the newest come first, and then four at a time.
const NEWEST_FIRST: u64 = 8;

fn eager() -> Peer {
    Peer::with(1, |config| config.newest_first_posts = NEWEST_FIRST)
}

fn linked(peer: &mut Peer, n: u8) -> LinkId {
    let link = peer.accept(n);
    peer.converse(2_000, |_, message| content(message));
    peer.take_all_said();
    link
}

fn have(feed: FeedId, floor: u64, head: u64) -> Message {
    Message::Have(vec![Have { feed, head: Seq(head), floor: Seq(floor) }])
}

/// What was asked for, with 0 for an open end.
fn ranges(messages: &[Message]) -> Vec<(u64, u64)> {
    let wants = messages.iter().filter_map(|message| if let Message::Want(want) = message { Some(want) } else { None });
    wants.flat_map(|want| &want.ranges).map(|(from, to)| (from.0, to.map_or(0, |to| to.0))).collect()
}

/// The numbers of some deliveries, and whether each was late.
fn shown(deliveries: &[Delivery]) -> Vec<(u64, bool)> {
    deliveries.iter().map(|delivery| (delivery.envelope.first().0, delivery.late)).collect()
}

/// Those of a chain of one post each.
fn part(chain: &[VerifiedEnvelope], from: usize, to: usize) -> Message {
    repaired(&chain[from - 1..to])
}

/// The store keeps only these of a feed.
pub(super) fn retained(kept: &[VerifiedEnvelope]) -> Input {
    let mut runs = Runs::default();
    for envelope in kept {
        runs.add(envelope);
    }
    Input::Retained { feeds: vec![StoredFeed { feed: kept[0].feed(), base: kept[0].first(), runs }] }
}

/// An answer of somebody who holds the same ends, with so much missing before them.
fn same_ends(message: &Message, holes: u64) -> Vec<Message> {
    let Message::Ping(Ping { n, t, digest }) = *message else { return Vec::new() };
    vec![Message::Pong(Pong { n, t, r: t, digest: Digest { holes, ..digest } })]
}

fn counted(peer: &Peer) -> (u64, u64, u64) {
    let status = peer.mesh.status();
    (status.posts, status.missing_posts, status.unavailable_posts)
}

#[test]
fn far_behind_the_newest_is_asked_for_first_and_then_backwards_in_chunks() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 20, &["x"]);
    peer.hear(link, &have(feed[0].feed_id(), 1, 20));
    assert_eq!(ranges(&peer.said(link)), [(17, 0), (13, 16), (9, 12), (5, 8), (1, 4)]);
    peer.hear(link, &part(&feed, 17, 20));
    // What is new goes on meanwhile, in order and not late.
    let more = chain(3, 7, 21, &["x"]);
    peer.hear(link, &pushed(&more[20..]));
    peer.hear(link, &part(&feed, 13, 16));
    let delivered = shown(&peer.delivered());
    assert_eq!(delivered[..5], [17, 18, 19, 20, 21].map(|seq| (seq, false)));
    assert_eq!(delivered[5..], [13, 14, 15, 16].map(|seq| (seq, true)), "behind newer ones of its feed it is late");
    for from in [9, 5, 1] {
        peer.hear(link, &part(&feed, from, from + 3));
    }
    assert!(shown(&peer.delivered()).iter().all(|(_, late)| *late));
    assert_eq!(counted(&peer), (21, 0, 0));
    assert_eq!(peer.mesh.status().digest.holes, 0);
    assert_eq!(ranges(&peer.said(link)), [], "nothing more is asked for");
}

#[test]
fn a_little_behind_a_feed_comes_in_order() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 8, &["x"]);
    peer.hear(link, &have(feed[0].feed_id(), 1, 8));
    assert_eq!(ranges(&peer.said(link)), [(1, 0)]);
}

#[test]
fn what_nobody_asked_for_begins_no_run() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 20, &["x"]);
    peer.hear(link, &have(feed[0].feed_id(), 1, 20));
    peer.said(link);
    // In the middle of a range, not at its beginning.
    peer.hear(link, &part(&feed, 15, 16));
    assert_eq!(peer.delivered().len(), 0);
    peer.hear(link, &part(&feed, 13, 14));
    assert_eq!(shown(&peer.delivered()), [13, 14, 15, 16].map(|seq| (seq, false)));
}

#[test]
fn a_newcomer_far_behind_gets_everything_once_whatever_the_sizes_of_envelopes() {
    let disk = chain(9, 7, 70, &["a", "b", "c"]);
    let mut world = World::new(0);
    let start = |n, held: &[VerifiedEnvelope]| {
        let mut config = config(n);
        config.newest_first_posts = NEWEST_FIRST;
        Peer::start(n, config, held, Vec::new())
    };
    world.add(1, start(1, &disk));
    world.add(2, start(2, &disk[..5]));
    world.command(2, Command::AddPeer(addr(1)));
    world.run_for(5_000);
    assert_eq!(counted(world.peer(2)), (210, 0, 0));
    assert_eq!(world.peer(1).mesh.status().digest, world.peer(2).mesh.status().digest);
    let to_two = world.frames.iter().filter(|(_, to, _)| *to == 2);
    let posts: usize = to_two.map(|(_, _, frame)| texts_said(std::slice::from_ref(frame)).len()).sum();
    assert_eq!(posts, 65 * 3, "no post twice");
    let delivered = shown(&world.peer(2).delivered());
    assert!(delivered[0].0 > 200 && !delivered[0].1, "the newest first: {:?}", &delivered[..3]);
}

#[test]
fn the_ranges_of_one_question_are_served_in_its_order() {
    let disk = chain(3, 7, 30, &["x", "y"]);
    let mut peer = Peer::start(1, config(1), &disk, Vec::new());
    let link = linked(&mut peer, 2);
    let ranges = vec![(Seq(50), Some(Seq(53))), (Seq(11), Some(Seq(12))), (Seq(30), None)];
    peer.hear(link, &Message::Want(Want { feed: disk[0].feed_id(), ranges, push: false }));
    let said = peer.said(link);
    let firsts: Vec<u64> = said
        .iter()
        .filter_map(|message| if let Message::Envelopes(envelopes) = message { Some(&envelopes.items) } else { None })
        .map(|items| items[0].first().0)
        .collect();
    // A range that begins or ends inside an envelope has all of it.
    assert_eq!(firsts, [49, 11, 29]);
    assert_eq!(texts_said(&said).len(), 2 * (3 + 1 + 16));
}

#[test]
fn below_every_floor_nothing_is_asked_and_nobody_asks_for_ever() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 20, &["x"]);
    peer.hear(link, &have(feed[0].feed_id(), 9, 20));
    assert_eq!(ranges(&peer.said(link)), [(17, 0), (13, 16), (9, 12)]);
    assert_eq!(counted(&peer), (0, 12, 8));
    for from in [17, 13, 9] {
        peer.hear(link, &part(&feed, from, from + 3));
    }
    assert_eq!(counted(&peer), (12, 0, 8));
    assert_eq!(peer.mesh.status().digest.holes, 8);
    peer.said(link);
    let mut said = Vec::new();
    peer.converse(3_600_000, |_, message| {
        said.push(message.clone());
        same_ends(message, 0)
    });
    assert_eq!(ranges(&said), []);
    // Somebody who holds more opens the question again.
    let other = linked(&mut peer, 4);
    peer.hear(other, &have(feed[0].feed_id(), 1, 20));
    assert_eq!(ranges(&peer.said(other)), [(5, 8), (1, 4)]);
    assert_eq!(counted(&peer), (12, 8, 0));
    peer.hear(other, &part(&feed, 5, 8));
    peer.hear(other, &part(&feed, 1, 4));
    assert_eq!(counted(&peer), (20, 0, 0));
    peer.run_for(200);
    assert!(peer.said(link).contains(&have(feed[0].feed_id(), 1, 20)), "a floor that sank is told to all");
}

#[test]
fn equal_ends_with_holes_are_compared_once_a_link_and_then_there_are_heartbeats_only() {
    let feed = chain(3, 7, 6, &["x"]);
    let mut peer = Peer::start(1, config(1), &feed[3..], Vec::new());
    let link = peer.accept(2);
    let mut said = Vec::new();
    peer.converse(3_600_000, |_, message| {
        said.push(message.clone());
        same_ends(message, 3)
    });
    let heads = said.iter().filter(|message| matches!(message, Message::Heads(_))).count();
    assert_eq!(heads, 1);
    let others = said.iter().filter(|message| !matches!(message, Message::Ping(_) | Message::Heads(_)));
    let others: Vec<_> = others.filter(|message| !matches!(message, Message::View(_) | Message::Hello(_))).collect();
    assert!(others.iter().all(|message| matches!(message, Message::Peers(_))), "{others:?}");
    let status = peer.mesh.peers(peer.now);
    let behind = status.iter().find(|status| status.id == Some(id(2))).unwrap().behind;
    assert_eq!(behind, 3, "who lacks something is not taken for holding all");
    assert!(peer.mesh.status().peers_up == 1 && link == LinkId(1));
}

#[test]
fn who_is_gone_for_a_part_is_waited_for_with_the_rest() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 8, &["x"]);
    let name = feed[0].feed_id();
    peer.hear(link, &have(name, 1, 8));
    peer.said(link);
    peer.hear(link, &Message::Gone { feed: name, floor: Seq(5) });
    peer.run_for(100);
    assert_eq!(ranges(&peer.said(link)), [], "what lies above the floor is on its way");
    // The question begins at the floor now, and so may a run.
    peer.hear(link, &part(&feed, 5, 8));
    assert_eq!(shown(&peer.delivered()), [5, 6, 7, 8].map(|seq| (seq, false)));
    assert_eq!(counted(&peer), (4, 0, 4));
}

#[test]
fn a_restart_in_the_middle_goes_on_where_it_was() {
    let feed = chain(3, 7, 20, &["x"]);
    let disk: Vec<_> = feed[..3].iter().chain(&feed[14..]).cloned().collect();
    let mut config = config(1);
    config.newest_first_posts = NEWEST_FIRST;
    let mut peer = Peer::start(1, config, &disk, Vec::new());
    assert_eq!(counted(&peer), (9, 0, 11));
    let link = linked(&mut peer, 2);
    peer.hear(link, &have(feed[0].feed_id(), 1, 20));
    assert_eq!(ranges(&peer.said(link)), [(11, 14), (7, 10), (4, 6)]);
    peer.hear(link, &part(&feed, 11, 14));
    peer.hear(link, &part(&feed, 7, 10));
    peer.hear(link, &part(&feed, 4, 6));
    assert_eq!(counted(&peer), (20, 0, 0));
}

#[test]
fn many_runs_are_closed_from_below_and_none_is_begun() {
    let count = 2 * RUNS_PER_FEED_MAX + 10;
    let feed = chain(3, 7, count as u64, &["x"]);
    let disk: Vec<_> = feed.iter().step_by(2).cloned().collect();
    let mut peer = Peer::start(1, config(1), &disk, Vec::new());
    let link = linked(&mut peer, 2);
    peer.hear(link, &have(feed[0].feed_id(), 1, count as u64));
    let asked = ranges(&peer.said(link));
    assert_eq!(asked[..3], [(2, 2), (4, 4), (6, 6)]);
    let mut open = asked;
    while !open.is_empty() {
        for (from, to) in open {
            peer.hear(link, &part(&feed, from as usize, if to == 0 { count } else { to as usize }));
        }
        open = ranges(&peer.said(link));
    }
    assert_eq!(counted(&peer), (count as u64, 0, 0));
}

#[test]
fn of_many_feeds_the_newest_runs_are_asked_for_first() {
    let feeds: Vec<_> = (0..40).map(|n| chain(3, 1_000 + n, 1, &["x"])).collect();
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    peer.hear(link, &super::kit::heads(&feeds));
    let mut expected: Vec<FeedId> = feeds[24..].iter().map(|feed| feed[0].feed_id()).collect();
    let mut asked: Vec<FeedId> = wanted(&peer.said(link));
    asked.sort();
    expected.sort();
    assert_eq!(asked, expected);
    peer.hear(link, &repaired(&feeds[39]));
    assert_eq!(wanted(&peer.said(link)), [feeds[23][0].feed_id()], "and so is the next one");
}

fn wanted(messages: &[Message]) -> Vec<FeedId> {
    messages
        .iter()
        .filter_map(|message| if let Message::Want(want) = message { Some(want.feed) } else { None })
        .collect()
}

#[test]
fn what_the_store_dropped_is_told_not_served_and_never_asked_for_again() {
    let feed = chain(3, 7, 20, &["x"]);
    let name = feed[0].feed_id();
    let mut peer = Peer::start(1, config(1), &feed, Vec::new());
    let link = linked(&mut peer, 2);
    peer.store.stored.retain(|held| held.envelope.first() >= Seq(11));
    peer.handle(retained(&feed[10..]));
    assert_eq!(counted(&peer), (10, 0, 0));
    assert_eq!(peer.mesh.status().digest.holes, 0);
    peer.run_for(200);
    assert!(peer.said(link).contains(&have(name, 11, 20)), "a floor that rose is told");
    peer.hear(link, &have(name, 1, 20));
    let mut said = Vec::new();
    peer.converse(60_000, |_, message| {
        said.push(message.clone());
        content(message)
    });
    assert_eq!(ranges(&said), []);
    peer.hear(link, &part(&feed, 1, 10));
    assert_eq!(peer.delivered().len(), 0, "what is below is not taken either");
    peer.hear(link, &Message::Want(Want { feed: name, ranges: vec![(Seq(9), Some(Seq(12)))], push: false }));
    let said = peer.said(link);
    assert!(said.contains(&Message::Gone { feed: name, floor: Seq(11) }), "{said:?}");
    assert_eq!(texts_said(&said).len(), 2);
}

#[test]
fn what_is_on_its_way_to_the_disk_while_older_posts_are_dropped_is_kept() {
    let feed = chain(3, 7, 8, &["x"]);
    let mut peer = Peer::start(1, config(1), &feed[..4], Vec::new());
    let link = linked(&mut peer, 2);
    peer.store.mood = super::disk::Mood::Waits;
    peer.hear(link, &pushed(&feed[4..6]));
    peer.handle(retained(&feed[2..4]));
    peer.hear(link, &pushed(&feed[6..]));
    peer.store_answers(super::disk::Mood::Takes);
    peer.store_answers(super::disk::Mood::Takes);
    assert_eq!(counted(&peer), (6, 0, 0));
    assert_eq!(texts(&peer.delivered()).len(), 4);
}

#[test]
fn an_answer_that_comes_when_nobody_waits_for_it_any_more_is_taken() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 20, &["x"]);
    peer.hear(link, &have(feed[0].feed_id(), 1, 20));
    assert!(!ranges(&peer.said(link)).is_empty());
    // Over a slow line: the only one that has it was asked in vain, and is not asked again yet.
    peer.run_for(700);
    assert_eq!(ranges(&peer.said(link)), []);
    peer.hear(link, &part(&feed, 17, 20));
    assert_eq!(shown(&peer.delivered()), [17, 18, 19, 20].map(|seq| (seq, false)));
}

#[test]
fn what_came_by_itself_behind_a_gap_that_nobody_can_fill_is_shown_too() {
    let mut peer = eager();
    let link = linked(&mut peer, 2);
    let feed = chain(3, 7, 8, &["x"]);
    peer.hear(link, &pushed(&feed[4..]));
    assert_eq!(peer.delivered().len(), 0);
    // It holds no more than it pushed.
    peer.hear(link, &have(feed[0].feed_id(), 5, 8));
    peer.run_for(2_000);
    assert_eq!(shown(&peer.delivered()), [5, 6, 7, 8].map(|seq| (seq, false)));
    // The room it took is free again.
    let waiting = peer.mesh.census().into_iter().find(|count| count.what == "bytes beyond gaps").unwrap();
    assert_eq!(waiting.len, 0);
}

#[test]
fn who_fetches_the_newest_first_serves_what_it_holds_before_that_too() {
    let feed = chain(3, 7, 40, &["x"]);
    let mut peer = eager();
    let source = linked(&mut peer, 2);
    peer.hear(source, &pushed(&feed[..10]));
    peer.hear(source, &have(feed[0].feed_id(), 1, 40));
    peer.run_for(600);
    peer.hear(source, &part(&feed, 37, 40));
    assert_eq!(counted(&peer), (14, 26, 0));
    let asking = linked(&mut peer, 4);
    let mut served = |range: (u64, Option<u64>), push| {
        let ranges = vec![(Seq(range.0), range.1.map(Seq))];
        peer.hear(asking, &Message::Want(Want { feed: feed[0].feed_id(), ranges, push }));
        peer.run_for(50);
        sent(&peer.said(asking))
    };
    assert_eq!(served((1, Some(12)), false), (1..=10).collect::<Vec<u64>>());
    assert_eq!(served((9, None), true), [9, 10, 37, 38, 39, 40]);
}

#[test]
fn between_the_same_ends_whoever_misses_more_asks_who_misses_less() {
    let feed = chain(3, 7, 9, &["x"]);
    let mut peer = Peer::start(1, config(1), &feed[6..], Vec::new());
    let link = peer.accept(2);
    let mut asked = Vec::new();
    // The other side misses number 5 only, and begins, as it says, behind that.
    peer.converse(60_000, |_, message| match message {
        Message::Want(want) => {
            asked.extend(ranges(std::slice::from_ref(message)));
            if want.ranges[0].0 == Seq(1) { vec![part(&feed, 1, 4)] } else { Vec::new() }
        }
        _ => same_ends(message, 1),
    });
    assert_eq!(asked[0], (1, 6));
    assert_eq!(shown(&peer.delivered()), [1, 2, 3, 4].map(|seq| (seq, true)));
    assert!(asked.len() <= 2 && peer.mesh.status().peers_up == 1 && link == LinkId(1), "{asked:?}");
    assert_eq!(peer.offences(), Vec::<String>::new());
}

/// The numbers of all posts in some frames.
fn sent(messages: &[Message]) -> Vec<u64> {
    let envelopes = messages.iter().filter_map(|message| match message {
        Message::Envelopes(envelopes) => Some(&envelopes.items),
        _ => None,
    });
    envelopes.flatten().map(|envelope| envelope.first().0).collect()
}
