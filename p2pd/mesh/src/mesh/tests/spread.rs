//! Push, announce, stop: every post once over every link that needs it.

use super::kit::{EPOCH, Peer, chain, content, envelope, id, pushed, repaired, run, texts, texts_said};
use super::world::World;
use crate::effect::Effect;
use crate::id::{LinkId, Seq};
use crate::limits::{FRAME_LEN_MAX, IN_FLIGHT_BYTES_MAX};
use crate::wire::message::{Envelopes, Have, Message, VIEW_ID_LEN, View, Want};

/// A peer with links to these, whose greetings are over.
fn linked(others: &[u8]) -> (Peer, Vec<LinkId>) {
    let mut peer = Peer::new(1);
    let links = others.iter().map(|n| peer.accept(*n)).collect();
    peer.converse(2_000, |_, message| content(message));
    peer.take_all_said();
    (peer, links)
}

/// Says that its neighbours are these.
fn neighbors(of: &[u8]) -> Message {
    let neighbors = of.iter().map(|n| id(*n).to_string()[..VIEW_ID_LEN].to_owned()).collect();
    Message::View(View { full: true, neighbors, estimate: 4 })
}

fn haves(messages: &[Message]) -> Vec<&Vec<Have>> {
    messages.iter().filter_map(|message| if let Message::Have(haves) = message { Some(haves) } else { None }).collect()
}

fn envelopes(messages: &[Message]) -> Vec<&Envelopes> {
    let all = messages.iter().filter_map(|message| match message {
        Message::Envelopes(envelopes) => Some(envelopes),
        _ => None,
    });
    all.collect()
}

fn is_pruned(messages: &[Message], n: u8) -> bool {
    messages.iter().any(|message| matches!(message, Message::Prune(feeds) if feeds.contains(&run(n).feed_id())))
}

fn own_feed_wanted(from: u64, to: Option<u64>, push: bool) -> Message {
    Message::Want(Want { feed: run(1).feed_id(), ranges: vec![(Seq(from), to.map(Seq))], push })
}

#[test]
fn in_a_full_mesh_a_post_travels_one_hop_to_each_and_arrives_once() {
    let mut world = World::meshed(5);
    for n in 1..=5 {
        world.say(n, &format!("of {n}"));
        world.run_for(3_000);
    }
    let pushes: Vec<(u8, u8)> = world
        .frames
        .iter()
        .filter(|(_, _, frame)| matches!(frame, Message::Envelopes(_)))
        .map(|(from, to, _)| (*from, *to))
        .collect();
    assert_eq!(pushes.len(), 5 * 4, "{pushes:?}");
    let history = world.peer(1).history();
    assert_eq!(history, ["of 1", "of 2", "of 3", "of 4", "of 5"]);
    for n in 2..=5 {
        assert_eq!(world.peer(n).history(), history);
        assert_eq!(world.peer(n).count("posts_duplicate_total"), 0);
    }
}

#[test]
fn who_holds_a_post_says_so_also_to_who_has_it() {
    let (mut peer, links) = linked(&[2, 4]);
    let (author, other) = (links[0], links[1]);
    let post = chain(2, EPOCH.0, 1, &["x"]);
    let have = Message::Have(vec![Have { feed: post[0].feed_id(), head: Seq(1), floor: Seq(1) }]);
    peer.hear(other, &have);
    peer.take_all_said();
    peer.hear(author, &pushed(&post));
    peer.run_for(200);
    assert!(peer.said(other).contains(&have), "the other one shows us as behind until it hears of it");
}

#[test]
fn who_holds_a_post_says_so_also_where_its_feed_is_pushed() {
    let (mut peer, links) = linked(&[2, 4]);
    let (author, other) = (links[0], links[1]);
    let posts = chain(2, EPOCH.0, 2, &["x"]);
    let have = Message::Have(vec![Have { feed: posts[0].feed_id(), head: Seq(2), floor: Seq(1) }]);
    peer.hear(author, &pushed(&posts[..1]));
    assert_eq!(texts_said(&peer.said(other)), ["x"]);
    peer.hear(other, &have);
    peer.hear(author, &pushed(&posts[1..]));
    peer.run_for(200);
    assert!(peer.said(other).contains(&have), "the other one shows us as behind until it hears of it");
}

#[test]
fn a_post_finds_its_way_to_who_has_no_link_to_its_author() {
    // 1 - 2 - 3 - 4, where only neighbours accept each other.
    let mut world = World::with(4, |n, config| {
        config.allow = [n - 1, n + 1].map(id).into();
        config.peers = vec![super::kit::addr(n + 1)];
    });
    world.run_for(3_000);
    for (author, text) in [(1, "a"), (1, "b"), (4, "c")] {
        world.frames.clear();
        world.say(author, text);
        world.run_for(200);
        let pushes = world.frames.iter().filter_map(|(_, _, frame)| match frame {
            Message::Envelopes(envelopes) => Some((envelopes.hop, envelopes.live)),
            _ => None,
        });
        assert_eq!(pushes.collect::<Vec<_>>(), [(0, true), (1, true), (2, true)], "{text}");
        world.run_for(3_000);
    }
    for n in 1..=4 {
        assert_eq!(world.peer(n).history(), ["a", "b", "c"]);
    }
}

#[test]
fn after_convergence_the_network_is_quiet_but_for_heartbeats() {
    let mut world = World::meshed(4);
    for text in ["a", "b", "c"] {
        world.say(1, text);
        world.say(2, text);
        world.run_for(20);
    }
    world.run_for(5_000);
    world.frames.clear();
    world.run_for(120_000);
    assert!(world.frames.iter().all(|(_, _, frame)| matches!(frame, Message::Ping(_) | Message::Pong(_))));
    let pings = world.frames.iter().filter(|(_, _, frame)| matches!(frame, Message::Ping(_))).count();
    // Six links, each asked from one side after 27 to 33 s of silence.
    assert!((6 * 3..=6 * 5).contains(&pings), "{pings} pings");
}

#[test]
fn who_pushes_without_being_the_author_is_pruned_and_the_author_never_is() {
    let (mut peer, links) = linked(&[2, 3]);
    let feed = chain(3, EPOCH.0, 3, &["x"]);
    peer.hear(links[1], &pushed(&feed[..1]));
    peer.hear(links[0], &pushed(&feed[..1]));
    assert!(is_pruned(&peer.said(links[0]), 3), "what was there already");
    peer.hear(links[0], &pushed(&feed[1..2]));
    assert!(is_pruned(&peer.said(links[0]), 3), "it was first, and yet the author is the root");
    peer.hear(links[1], &pushed(&feed[1..2]));
    peer.hear(links[1], &pushed(&feed[1..2]));
    assert!(!is_pruned(&peer.said(links[1]), 3));
    assert_eq!(texts(&peer.delivered()), ["x", "x"]);
}

#[test]
fn of_two_relays_the_second_is_pruned() {
    let (mut peer, links) = linked(&[2, 4]);
    let feed = chain(3, EPOCH.0, 1, &["x"]);
    peer.hear(links[0], &pushed(&feed));
    peer.hear(links[1], &pushed(&feed));
    assert!(!is_pruned(&peer.said(links[0]), 3));
    assert!(is_pruned(&peer.said(links[1]), 3));
}

#[test]
fn a_feed_is_not_pushed_to_its_author_nor_to_the_author_s_neighbours() {
    let (mut peer, links) = linked(&[2, 3, 4, 5]);
    peer.hear(links[2], &neighbors(&[1, 3]));
    peer.hear(links[0], &pushed(&chain(3, EPOCH.0, 1, &["x"])));
    let texts = links.iter().map(|link| texts_said(&peer.said(*link)).len()).collect::<Vec<_>>();
    assert_eq!(texts, [0, 0, 0, 1], "only peer 5 may have no other way to it");
}

#[test]
fn in_a_quiet_mesh_a_receipt_comes_at_once() {
    let (mut peer, links) = linked(&[2]);
    for seq in [1, 2] {
        peer.hear(links[0], &pushed(&chain(2, EPOCH.0, 2, &["x"])[seq - 1..seq]));
        peer.run_for(5);
        let have = Have { feed: run(2).feed_id(), head: Seq(seq as u64), floor: Seq(1) };
        assert_eq!(haves(&peer.said(links[0])), [&vec![have]]);
        peer.run_for(200);
    }
}

#[test]
fn whoever_has_a_post_first_and_is_linked_to_its_author_is_not_pushed_the_next_one() {
    let (mut peer, links) = linked(&[2, 4]);
    let feed = chain(2, EPOCH.0, 3, &["x"]);
    peer.hear(links[0], &pushed(&feed[..1]));
    assert_eq!(texts_said(&peer.said(links[1])), ["x"], "nothing tells that it is the author's neighbour");
    peer.hear(links[1], &neighbors(&[2]));
    peer.hear(links[1], &Message::Have(vec![Have { feed: run(2).feed_id(), head: Seq(2), floor: Seq(1) }]));
    peer.hear(links[0], &pushed(&feed[1..2]));
    peer.hear(links[0], &pushed(&feed[2..]));
    peer.run_for(200);
    let said = peer.said(links[1]);
    assert_eq!(texts_said(&said), [""; 0]);
    assert_eq!(haves(&said).last().unwrap()[0].head, Seq(3), "it is announced instead");
}

#[test]
fn announcements_of_100_ms_go_out_as_one_frame() {
    let (mut peer, links) = linked(&[2, 9]);
    peer.hear(links[1], &neighbors(&[3, 4, 5, 6]));
    let mut rounds = Vec::new();
    for author in [3, 4, 5, 6] {
        peer.hear(links[0], &pushed(&chain(author, EPOCH.0, 1, &["x"])));
        peer.run_for(5);
        rounds.extend(haves(&peer.said(links[1])).iter().map(|haves| haves.len()));
    }
    assert_eq!(rounds, [1], "the first goes alone");
    peer.run_for(80);
    assert!(peer.said(links[1]).is_empty());
    peer.run_for(10);
    let said = peer.said(links[1]);
    assert_eq!(haves(&said).iter().map(|haves| haves.len()).collect::<Vec<_>>(), [3]);
    assert_eq!(said.len(), 1);
}

#[test]
fn what_its_author_is_about_to_push_is_not_asked_of_who_was_faster() {
    let (mut peer, links) = linked(&[2, 4]);
    let feed = chain(2, EPOCH.0, 1, &["x"]);
    let have = Message::Have(vec![Have { feed: feed[0].feed_id(), head: Seq(1), floor: Seq(1) }]);
    peer.hear(links[1], &have);
    peer.run_for(50);
    assert!(peer.said(links[1]).is_empty());
    assert_eq!(peer.mesh.status().missing_posts, 0, "what is on its way is not missing");
    peer.hear(links[0], &pushed(&feed));
    peer.run_for(500);
    let wants = |messages: &[Message]| messages.iter().any(|message| matches!(message, Message::Want(_)));
    assert!(!wants(&peer.said(links[1])) && !wants(&peer.said(links[0])));
}

#[test]
fn what_its_author_does_not_push_is_asked_of_who_has_it() {
    let (mut peer, links) = linked(&[2, 4]);
    let feed = chain(2, EPOCH.0, 1, &["x"]);
    peer.hear(links[1], &Message::Have(vec![Have { feed: feed[0].feed_id(), head: Seq(1), floor: Seq(1) }]));
    peer.run_for(500);
    assert!(peer.said(links[1]).iter().any(|message| matches!(message, Message::Want(_))));
    assert_eq!(peer.mesh.status().missing_posts, 1);
}

#[test]
fn a_head_that_the_other_side_has_passed_is_not_announced_to_it() {
    let (mut peer, links) = linked(&[2, 9]);
    peer.hear(links[1], &neighbors(&[3]));
    let feed = chain(3, EPOCH.0, 2, &["x"]);
    peer.hear(links[0], &pushed(&feed[..1]));
    peer.hear(links[1], &Message::Have(vec![Have { feed: feed[0].feed_id(), head: Seq(3), floor: Seq(1) }]));
    peer.said(links[1]);
    peer.hear(links[0], &pushed(&feed[1..]));
    peer.run_for(200);
    assert!(haves(&peer.said(links[1])).is_empty());
}

#[test]
fn what_was_repaired_is_announced_and_not_pushed_on() {
    let (mut peer, links) = linked(&[2, 4]);
    let feed = chain(3, EPOCH.0, 2, &["x"]);
    peer.hear(links[0], &Message::Have(vec![Have { feed: feed[0].feed_id(), head: Seq(2), floor: Seq(1) }]));
    assert!(peer.said(links[0]).iter().any(|message| matches!(message, Message::Want(_))));
    peer.hear(links[0], &repaired(&feed));
    peer.run_for(100);
    let said = peer.said(links[1]);
    assert!(envelopes(&said).is_empty());
    assert_eq!(haves(&said), [&vec![Have { feed: feed[0].feed_id(), head: Seq(2), floor: Seq(1) }]]);
}

#[test]
fn prune_stops_the_push_and_the_head_is_announced_instead() {
    let (mut peer, links) = linked(&[2]);
    peer.say("a");
    assert_eq!(texts_said(&peer.said(links[0])), ["a"]);
    peer.hear(links[0], &Message::Prune(vec![run(1).feed_id()]));
    peer.say("b");
    peer.run_for(150);
    let said = peer.said(links[0]);
    assert!(envelopes(&said).is_empty());
    assert_eq!(haves(&said)[0][0].head, Seq(2));
}

#[test]
fn a_want_with_push_brings_what_is_there_and_what_comes() {
    let (mut peer, links) = linked(&[2]);
    peer.say("a");
    peer.hear(links[0], &Message::Prune(vec![run(1).feed_id()]));
    peer.say("b");
    peer.take_all_said();
    peer.hear(links[0], &own_feed_wanted(2, None, true));
    peer.say("c");
    let said = peer.said(links[0]);
    assert_eq!(texts_said(&said), ["b", "c"]);
    let live: Vec<bool> = envelopes(&said).iter().map(|envelopes| envelopes.live).collect();
    assert_eq!(live, [false, true], "the past is repair, which the other side does not push on");
}

#[test]
fn a_want_without_push_brings_the_range_and_no_more() {
    let (mut peer, links) = linked(&[2]);
    peer.hear(links[0], &Message::Prune(vec![run(1).feed_id()]));
    peer.say("a");
    peer.hear(links[0], &Message::Prune(vec![run(1).feed_id()]));
    for text in ["b", "c", "d"] {
        peer.say(text);
    }
    peer.take_all_said();
    peer.hear(links[0], &own_feed_wanted(2, Some(3), false));
    peer.say("e");
    assert_eq!(texts_said(&peer.said(links[0])), ["b", "c"]);
}

#[test]
fn one_live_frame_serves_all_links() {
    let (mut peer, _) = linked(&[2, 3, 4]);
    peer.say("a");
    let frames = peer.effects.iter().filter_map(|effect| match effect {
        Effect::Send { bytes, .. } => Some(bytes.as_ptr()),
        _ => None,
    });
    let frames: Vec<_> = frames.collect();
    assert_eq!((frames.len(), frames.iter().all(|frame| *frame == frames[0])), (3, true));
}

#[test]
fn a_link_that_takes_nothing_holds_a_frame_or_two_and_misses_nothing() {
    let (mut peer, links) = linked(&[2, 3]);
    peer.block(links[0]);
    let texts: Vec<String> = (0..100).map(|n| format!("{n} {}", "x".repeat(10_000))).collect();
    texts.iter().for_each(|text| peer.say(text));
    assert!(peer.unwritten(links[0]) <= IN_FLIGHT_BYTES_MAX + FRAME_LEN_MAX);
    assert_eq!(texts_said(&peer.said(links[1])), texts, "nobody waits for the slow one");
    peer.unblock(links[0]);
    assert_eq!(texts_said(&peer.said(links[0])), texts);
}

#[test]
fn what_is_new_overtakes_a_long_repair() {
    let (mut peer, links) = linked(&[2]);
    let old = "x".repeat(10_000);
    for _ in 0..40 {
        peer.say(&old);
    }
    peer.hear(links[0], &pushed(&chain(2, EPOCH.0, 1, &["theirs"])));
    peer.take_all_said();
    peer.block(links[0]);
    peer.hear(links[0], &own_feed_wanted(1, Some(40), false));
    peer.say("new");
    peer.unblock(links[0]);
    let said = texts_said(&peer.said(links[0]));
    assert_eq!(said.len(), 41);
    assert!(said.iter().position(|text| text == "new").unwrap() < 20, "it came behind the whole repair");
}

#[test]
fn a_hop_that_no_mesh_has_is_not_told_on_as_what_nobody_can_read() {
    let (mut peer, links) = linked(&[2, 4]);
    let items = vec![crate::envelope::Envelope::clone(&envelope(3, 7, 1, None, "x"))];
    let far = Message::Envelopes(Envelopes { items, hop: crate::id::INTEGER_END - 1, live: true, more: false });
    peer.hear(links[0], &far);
    // The harness reads whatever is sent.
    assert_eq!(texts_said(&peer.said(links[1])), ["x"]);
}

#[test]
fn the_next_run_of_an_author_is_pushed_where_the_last_one_was() {
    let (mut peer, links) = linked(&[2, 4, 5]);
    peer.hear(links[0], &pushed(&chain(3, 7, 1, &["old run"])));
    peer.hear(links[1], &Message::Prune(vec![chain(3, 7, 1, &["old run"])[0].feed_id()]));
    peer.take_all_said();
    peer.hear(links[0], &pushed(&chain(3, 8, 1, &["new run"])));
    assert!(texts_said(&peer.said(links[1])).is_empty(), "pruned before, and so it stays");
    assert_eq!(texts_said(&peer.said(links[2])), ["new run"]);
}

#[test]
fn own_posts_from_before_a_link_are_not_pushed_on_it() {
    let (mut peer, _) = linked(&[2]);
    peer.say("before");
    let late = peer.accept(3);
    peer.say("after");
    assert_eq!(texts_said(&peer.said(late)), ["after"]);
}

#[test]
fn who_holds_only_what_is_newer_is_still_pushed_what_it_asked_for() {
    let (mut peer, links) = linked(&[2, 4]);
    let feed = chain(3, EPOCH.0, 40, &[&"x".repeat(8_000)]);
    let have = |head, floor| Message::Have(vec![Have { feed: feed[0].feed_id(), head: Seq(head), floor: Seq(floor) }]);
    peer.hear(links[1], &have(1, 1));
    feed.chunks(1).for_each(|envelope| peer.hear(links[0], &pushed(envelope)));
    peer.said(links[1]);
    peer.block(links[1]);
    let ranges = vec![(Seq(2), None)];
    peer.hear(links[1], &Message::Want(Want { feed: feed[0].feed_id(), ranges, push: true }));
    peer.hear(links[1], &have(99, 90));
    peer.unblock(links[1]);
    assert_eq!(texts_said(&peer.said(links[1])).len(), 39);
}
