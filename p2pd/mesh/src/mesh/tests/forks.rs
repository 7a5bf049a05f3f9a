//! An author with two pasts: everybody takes the same one, the other is marked, and nobody is blamed for passing it on.

use std::collections::BTreeSet;

use super::disk::Mood;
use super::kit::{Peer, chain, content, draft, envelope, keyed, pushed, sealed, texts};
use super::world::World;
use crate::effect::Event;
use crate::envelope::{Direct, Envelope, VerifiedEnvelope};
use crate::id::Seq;
use crate::input::{Command, Draft};
use crate::limits::{FORK_PROOFS_BYTES_MAX, FORKS_BURST, FORKS_PER_FEED_MAX};
use crate::wire::message::{ByeCode, Fork, Have, Message};

/// The author of all forks here, which is no peer of its own.
const AUTHOR: u8 = 9;

/// `count` envelopes behind others.
fn branch(before: &[VerifiedEnvelope], count: u64, text: &str) -> Vec<VerifiedEnvelope> {
    let mut chain = before.to_vec();
    for _ in 0..count {
        let (first, prev) = chain.last().map_or((1, None), |last| (last.last().0 + 1, Some(last.hash())));
        chain.push(envelope(AUTHOR, 7, first, prev, &format!("{text}{first}")));
    }
    chain
}

/// Branches that share the first `common` posts, with a different text each, the one that wins first.
fn branches(common: u64, counts: &[u64]) -> Vec<Vec<VerifiedEnvelope>> {
    let trunk = branch(&[], common, "t");
    let names = ["a", "b", "c", "d"];
    let mut all: Vec<_> = counts.iter().zip(names).map(|(count, name)| branch(&trunk, *count, name)).collect();
    all.sort_by_key(|branch| branch[common as usize].hash());
    all
}

fn said(branch: &[VerifiedEnvelope]) -> Vec<String> {
    branch.iter().flat_map(|envelope| &envelope.body().posts).map(|post| post.text.to_string()).collect()
}

fn push(branch: &[VerifiedEnvelope]) -> Vec<Message> {
    branch.chunks(100).map(pushed).collect()
}

fn proof(a: &VerifiedEnvelope, b: &VerifiedEnvelope) -> Message {
    Message::Fork(Box::new(Fork { a: Envelope::clone(a), b: Envelope::clone(b) }))
}

/// Peers 1 to `count` learn what they hold, are linked then, and talk it over.
fn met(held: &[&[VerifiedEnvelope]]) -> World {
    let mut world = World::new(held.len() as u8);
    for (n, branch) in (1..).zip(held) {
        world.visit(n, AUTHOR, &push(branch));
    }
    for n in 2..=held.len() as u8 {
        world.command(n, Command::AddPeer(super::kit::addr(1)));
    }
    world.run_for(60_000);
    world
}

/// All peers hold exactly this branch, and what they held besides is marked.
#[track_caller]
fn check(world: &mut World, peers: &[u8], canonical: &[VerifiedEnvelope]) {
    let digest = world.peer(peers[0]).mesh.status().digest;
    for n in peers {
        let peer = world.peer(*n);
        let (kept, _) = peer.histories();
        assert_eq!(kept, said(canonical), "peer {n}");
        let status = peer.mesh.status();
        assert_eq!((status.digest, status.posts), (digest, canonical.len() as u64), "peer {n}");
        assert_eq!(status.missing_posts, 0, "peer {n}");
        assert_eq!(peer.offences(), Vec::<String>::new(), "peer {n} blames somebody");
    }
}

#[test]
fn w_14_peers_that_hold_two_branches_all_take_the_one_with_the_smaller_hash() {
    let all = branches(4, &[3, 5]);
    for (one, other) in [(0, 1), (1, 0)] {
        let mut world = met(&[&all[one], &all[other], &[]]);
        let seen = |event: &Event| matches!(event, Event::ForkSeen { seq: Seq(5), .. });
        for n in 1..=3 {
            assert_eq!(world.peer(n).events().iter().filter(|event| seen(event)).count(), 1, "peer {n} tells it once");
        }
        check(&mut world, &[1, 2, 3], &all[0]);
        let loser = if one == 1 { 1 } else { 2 };
        let (_, forked) = world.peer(loser).histories();
        assert_eq!(forked, said(&all[1][4..]), "what lost is still there, and marked");
        world.frames.clear();
        world.run_for(300_000);
        world.frames.retain(|(_, _, message)| !matches!(message, Message::Ping(_) | Message::Pong(_)));
        assert!(world.frames.is_empty(), "the mesh is not quiet: {:?}", world.frames);
    }
}

#[test]
fn w_14_two_bodies_that_come_before_the_store_has_either_are_a_fork_too() {
    let all = branches(0, &[1, 1]);
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &pushed(&[all[1][0].clone(), all[0][0].clone()]));
    assert!(peer.events().iter().any(|event| matches!(event, Event::ForkSeen { seq: Seq(1), .. })));
}

#[test]
fn w_14_long_branches_need_few_questions_to_find_where_they_part() {
    let all = branches(5, &[300, 300]);
    let mut world = met(&[&all[0], &all[1], &[]]);
    check(&mut world, &[1, 2, 3], &all[0]);
    let wants = world.frames.iter().filter(|(_, _, message)| matches!(message, Message::Want(_))).count();
    assert!(wants < 60, "{wants} questions");
}

#[test]
fn w_14_envelopes_of_different_lengths_are_told_apart_where_they_begin() {
    let trunk = branch(&[], 2, "t");
    let prev = trunk.last().map(|last| last.hash());
    for (one, other) in [(3, 1), (1, 3), (7, 2)] {
        let begin = |count: usize, text: &str| {
            let first = sealed(AUTHOR, 7, 3, prev, &vec![text; count]);
            branch(&[&trunk[..], &[first]].concat(), 6, text)
        };
        let mut all = [begin(one, "a"), begin(other, "b")];
        all.sort_by_key(|branch| branch[2].hash());
        let mut world = met(&[&all[0], &all[1]]);
        let (kept, _) = world.peer(2).histories();
        assert_eq!(kept, said(&all[0]));
        assert_eq!(world.peer(1).mesh.status().digest, world.peer(2).mesh.status().digest);
    }
}

#[test]
fn w_14_of_three_branches_the_smallest_is_taken_whoever_meets_first() {
    let all = branches(3, &[2, 3, 4]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let held: Vec<&[VerifiedEnvelope]> = order.iter().map(|at| &all[*at][..]).collect();
        let mut world = met(&held);
        check(&mut world, &[1, 2, 3], &all[0]);
    }
}

#[test]
fn w_14_a_branch_of_a_branch_is_settled_too() {
    let all = branches(2, &[6, 6]);
    // The branch that wins parts again behind.
    let mut again = [branch(&all[0][..5], 4, "x"), branch(&all[0][..5], 7, "y")];
    again.sort_by_key(|branch| branch[5].hash());
    let mut world = met(&[&again[1], &all[1], &again[0]]);
    check(&mut world, &[1, 2, 3], &again[0]);
}

#[test]
fn w_14_a_feed_may_part_at_its_first_number() {
    let all = branches(0, &[3, 3]);
    let mut world = met(&[&all[1], &all[0]]);
    check(&mut world, &[1, 2], &all[0]);
}

#[test]
fn w_14_who_was_away_takes_the_same_branch() {
    let all = branches(4, &[3, 9]);
    let mut world = met(&[&all[0], &all[1]]);
    world.add(3, Peer::new(3));
    world.run_for(0);
    world.visit(3, AUTHOR, &push(&all[1]));
    world.command(3, Command::AddPeer(super::kit::addr(2)));
    world.run_for(60_000);
    check(&mut world, &[1, 2, 3], &all[0]);
    let (_, forked) = world.peer(3).histories();
    assert_eq!(forked, said(&all[1][4..]));
}

#[test]
fn w_14_the_author_goes_on_and_what_follows_the_winner_is_taken() {
    let all = branches(4, &[3, 3]);
    let mut world = met(&[&all[0], &all[1]]);
    let longer = branch(&all[0], 5, "more");
    world.visit(2, AUTHOR, &push(&branch(&all[1], 5, "lost")));
    world.visit(1, AUTHOR, &push(&longer));
    world.run_for(60_000);
    check(&mut world, &[1, 2], &longer);
}

#[test]
fn w_14_a_proof_alone_is_enough_and_a_replay_of_it_is_nothing_new() {
    let all = branches(2, &[2, 2]);
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &pushed(&all[1]));
    peer.events();
    peer.hear(link, &proof(&all[0][2], &all[1][2]));
    // The winner comes with the proof.
    assert_eq!(peer.histories(), (said(&all[0][..3]), said(&all[1][2..])));
    for _ in 1..FORKS_BURST {
        peer.hear(link, &proof(&all[1][2], &all[0][2]));
    }
    assert_eq!(peer.count("forks_seen_total"), 1);
    assert_eq!(peer.offences(), Vec::<String>::new());
    peer.hear(link, &proof(&all[1][2], &all[0][2]));
    assert_eq!(peer.offences().len(), 1, "they come too often");
    assert_eq!(peer.mesh.status().peers_up, 1);
    peer.run_for(1_000);
    peer.hear(link, &proof(&all[1][2], &all[0][2]));
    assert_eq!(peer.offences(), Vec::<String>::new());
}

#[test]
fn w_14_w_22_proofs_that_came_while_we_were_stopped_cost_nobody_a_ban() {
    let pair = |epoch: u64| proof(&envelope(AUTHOR, epoch, 1, None, "a"), &envelope(AUTHOR, epoch, 1, None, "b"));
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    // A second each, for as long as a link outlives a stop.
    (0..60).for_each(|epoch| peer.hear(link, &pair(epoch)));
    assert_eq!(peer.count("forks_seen_total"), 60);
    assert_eq!(peer.offences(), Vec::<String>::new());
    (60..200).for_each(|epoch| peer.hear(link, &pair(epoch)));
    assert_eq!(peer.offences().len(), 1, "a lump is one offence");
    assert_eq!(peer.mesh.status().peers_up, 1);
}

#[test]
fn w_14_a_branch_that_lost_while_it_waited_beyond_a_gap_is_not_taken() {
    let past = envelope(AUTHOR, 7, 4, None, "p").hash();
    let mut pair = ["a", "b"].map(|text| envelope(AUTHOR, 7, 5, Some(past), text));
    pair.sort_by_key(|envelope| envelope.hash());
    let [winner, loser] = pair;
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.converse(2_000, |_, message| content(message));
    peer.hear(link, &pushed(std::slice::from_ref(&loser)));
    peer.hear(link, &proof(&winner, &loser));
    // Nobody holds what is before it, so what waits may begin a run of its own.
    let floor = vec![Have { feed: loser.feed_id(), head: Seq(5), floor: Seq(5) }];
    peer.hear(link, &Message::Have(floor));
    peer.converse(10_000, |_, message| content(message));
    assert!(!peer.history().contains(&loser.body().posts[0].text.to_string()));
}

#[test]
fn w_14_what_waits_and_conflicts_with_what_came_meanwhile_is_not_shown() {
    let past = envelope(AUTHOR, 7, 4, None, "p").hash();
    let waits = sealed(AUTHOR, 7, 10, Some(past), &["w10", "w11", "w12"]);
    let taken = sealed(AUTHOR, 7, 12, Some(past), &["x12", "x13"]);
    let have = |floor| Message::Have(vec![Have { feed: waits.feed_id(), head: Seq(13), floor: Seq(floor) }]);
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.converse(2_000, |_, message| content(message));
    peer.hear(link, &have(13));
    peer.hear(link, &pushed(std::slice::from_ref(&waits)));
    // It reaches back into what waits, which only one who signs two pasts can do.
    peer.hear(link, &super::kit::repaired(&[taken]));
    peer.hear(link, &have(10));
    peer.converse(10_000, |_, message| content(message));
    assert_eq!(peer.history(), ["x12", "x13"]);
    assert_eq!(peer.count("store_failed_total"), 0);
}

#[test]
fn w_14_d_06_a_full_disk_settles_a_fork_also_where_the_memory_for_proofs_is_full() {
    let text = "x".repeat(16_000);
    let large = |epoch, salt| sealed(AUTHOR, epoch, 1, None, &[&text[..], &text[..], &text[..], salt]);
    let count = FORK_PROOFS_BYTES_MAX / (2 * large(1, "a").bytes().len()) + 1;
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    for epoch in 100..100 + count as u64 {
        peer.hear(link, &proof(&large(epoch, "a"), &large(epoch, "b")));
        peer.converse(1_100, |_, message| content(message));
    }
    let mut three = ["a", "b", "c"].map(|salt| large(7, salt));
    three.sort_by_key(|envelope| envelope.hash());
    peer.store.mood = Mood::Waits;
    peer.hear(link, &proof(&three[1], &three[2]));
    peer.hear(link, &proof(&three[0], &three[2]));
    peer.store_answers(Mood::Takes);
    peer.store_answers(Mood::Full);
    peer.store.mood = Mood::Takes;
    peer.converse(5_000, |_, message| content(message));
    peer.hear(link, &pushed(&[three[0].clone(), envelope(AUTHOR, 7, 5, Some(three[0].hash()), "next")]));
    assert_eq!(peer.histories().0.last().map(String::as_str), Some("next"));
}

#[test]
fn w_12_w_14_a_forged_proof_changes_nothing_and_bans_who_brought_it() {
    let all = branches(2, &[2, 2]);
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &pushed(&all[1]));
    let forged = Envelope::parse(all[0][2].bytes().clone(), [1; 64]).unwrap();
    peer.hear(link, &Message::Fork(Box::new(Fork { a: Envelope::clone(&all[1][2]), b: forged })));
    let is_banned = |message: &Message| matches!(message, Message::Bye(bye) if bye.code == ByeCode::Banned);
    assert!(peer.said(link).iter().any(is_banned));
    assert_eq!(peer.histories(), (said(&all[1]), Vec::new()));
    assert_eq!(peer.count("forks_seen_total"), 0);
}

#[test]
fn w_14_two_envelopes_that_prove_nothing_are_a_broken_frame() {
    let all = branches(2, &[2, 2]);
    for (a, b) in [(&all[0][2], &all[0][2]), (&all[0][2], &all[1][3]), (&all[0][3], &all[1][3])] {
        let mut peer = Peer::new(1);
        let link = peer.accept(2);
        peer.hear(link, &proof(a, b));
        assert_eq!(peer.offences().len(), 1);
        assert_eq!(peer.count("forks_seen_total"), 0);
    }
}

#[test]
fn w_14_an_author_that_forks_without_end_costs_no_more_than_the_limit_and_divides_nobody() {
    let trunk = branch(&[], 60, "t");
    let pairs: Vec<Message> = (1..60u64)
        .map(|first| {
            let prev = (first > 1).then(|| trunk[first as usize - 2].hash());
            proof(&trunk[first as usize - 1], &envelope(AUTHOR, 7, first, prev, "other"))
        })
        .collect();
    let mut world = World::new(2);
    for (n, turned) in [(1, false), (2, true)] {
        world.visit(n, AUTHOR, &push(&trunk));
        let mut proofs = pairs.clone();
        if turned {
            proofs.reverse();
        }
        for proof in proofs {
            world.visit(n, AUTHOR, &[proof]);
            world.run_for(2_000);
            assert!(world.peer(n).store.forks.len() <= FORKS_PER_FEED_MAX);
        }
    }
    world.command(2, Command::AddPeer(super::kit::addr(1)));
    world.run_for(120_000);
    assert_eq!(world.peer(1).mesh.status().digest, world.peer(2).mesh.status().digest);
    let (one, two) = (world.peer(1).histories().0, world.peer(2).histories().0);
    assert_eq!(one, two);
    assert!(one.len() < FORKS_PER_FEED_MAX);
    // Nothing more of it is taken, whatever it is.
    world.visit(1, AUTHOR, &push(&branch(&trunk, 5, "more")));
    assert_eq!(world.peer(1).histories().0, one);
}

#[test]
fn w_14_who_holds_the_other_branch_and_knows_no_proof_is_neither_blamed_nor_asked_for_ever() {
    let all = branches(1, &[2, 2]);
    let mut peer = Peer::new(1);
    peer.visit(AUTHOR, &push(&all[0]));
    let honest = peer.accept(4);
    let mut asked = 0;
    peer.converse(600_000, |link, message| match message {
        Message::Ping(ping) if link == honest => vec![super::kit::other_digest(ping)],
        Message::Heads(_) if link == honest => vec![super::kit::heads(&[all[1].clone()])],
        Message::Want(want) if link == honest => {
            asked += 1;
            let from = want.ranges[0].0;
            let found = all[1].iter().filter(|held| held.last() >= from).take(1).cloned().collect::<Vec<_>>();
            vec![super::kit::repaired(&found)]
        }
        _ => content(message),
    });
    assert_eq!(peer.offences(), Vec::<String>::new());
    assert_eq!(peer.mesh.status().peers_up, 1);
    assert!(asked < 300, "it was asked {asked} times in ten minutes");
    assert_eq!(peer.histories().0, said(&all[0]));
}

#[test]
fn w_14_what_lies_apart_behind_a_fork_is_set_aside_and_comes_again_in_its_order() {
    let all = branches(2, &[38, 38]);
    let mut peer = Peer::with(1, |config| config.newest_first_posts = 8);
    let link = peer.accept(2);
    peer.converse(2_000, |_, message| content(message));
    peer.hear(link, &super::kit::heads(&[all[0].clone()]));
    peer.hear(link, &super::kit::repaired(&all[0][36..]));
    assert_eq!(peer.histories().0, said(&all[0][36..]));
    peer.take_all_said();
    // Of which branch these are nobody can tell.
    peer.hear(link, &proof(&all[0][2], &all[1][2]));
    assert_eq!(peer.histories(), (Vec::new(), said(&all[0][36..])));
    // What the other side holds of it is asked anew.
    assert!(peer.said(link).iter().any(|message| matches!(message, Message::Ping(_))));
    peer.hear(link, &super::kit::heads(&[all[0].clone()]));
    peer.run_for(600);
    let asked: Vec<_> = peer
        .said(link)
        .into_iter()
        .filter_map(|message| match message {
            Message::Want(want) => Some(want.ranges[0].0),
            _ => None,
        })
        .collect();
    assert_eq!(asked.last(), Some(&Seq(1)));
    peer.hear(link, &super::kit::repaired(&all[0]));
    assert_eq!(peer.histories().0, said(&all[0]));
    assert_eq!(peer.offences(), Vec::<String>::new());
}

#[test]
fn w_14_a_proof_below_what_anybody_holds_keeps_nobody_from_the_rest() {
    let all = branches(2, &[38, 38]);
    let feed = all[0][0].feed_id();
    let mut peer = Peer::with(1, |config| config.newest_first_posts = 8);
    let link = peer.accept(2);
    peer.converse(2_000, |_, message| content(message));
    peer.hear(link, &proof(&all[0][2], &all[1][2]));
    peer.hear(link, &Message::Have(vec![Have { feed, head: Seq(40), floor: Seq(21) }]));
    let serve = |branch: &[VerifiedEnvelope], message: &Message| match message {
        Message::Want(want) => {
            let part = |(from, to): &(Seq, Option<Seq>)| {
                let is_asked =
                    |held: &&VerifiedEnvelope| *from <= held.first() && to.is_none_or(|to| held.first() <= to);
                let found: Vec<_> = branch.iter().filter(is_asked).cloned().collect();
                super::kit::repaired(&found)
            };
            want.ranges.iter().map(part).collect()
        }
        _ => content(message),
    };
    peer.converse(5_000, |_, message| serve(&all[1], message));
    let held: BTreeSet<String> = peer.histories().0.into_iter().collect();
    assert_eq!(held, said(&all[1][20..]).into_iter().collect());
    // Somebody comes who holds all of the branch that is taken: what lies apart was of the other one.
    let whole = peer.accept(4);
    peer.hear(whole, &super::kit::heads(&[all[0].clone()]));
    peer.converse(30_000, |link, message| match message {
        Message::Ping(ping) if link == whole => vec![super::kit::other_digest(ping)],
        Message::Heads(_) if link == whole => vec![super::kit::heads(&[all[0].clone()])],
        _ if link == whole => serve(&all[0], message),
        _ => content(message),
    });
    let held: BTreeSet<String> = peer.histories().0.into_iter().collect();
    assert_eq!(held, said(&all[0]).into_iter().collect());
    assert_eq!(peer.offences(), Vec::<String>::new());
}

#[test]
fn w_14_who_ends_every_feed_as_we_do_holds_no_other_branch_any_more() {
    let all = branches(1, &[2, 2]);
    let mut peer = Peer::new(1);
    peer.visit(AUTHOR, &push(&all[0]));
    let link = peer.accept(2);
    peer.hear(link, &super::kit::heads(&[all[1].clone()]));
    peer.converse(60_000, |_, message| content(message));
    let status = peer.mesh.peers(peer.now);
    let behind = status.iter().find(|status| status.id == Some(super::kit::id(2))).map(|status| status.behind);
    assert_eq!(behind, Some(0));
}

#[test]
fn w_14_d_06_a_full_disk_settles_the_fork_when_it_has_room_again() {
    let all = branches(2, &[2, 2]);
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &pushed(&all[1]));
    peer.store.mood = Mood::Full;
    peer.hear(link, &proof(&all[0][2], &all[1][2]));
    peer.hear(link, &pushed(&all[0]));
    peer.converse(5_000, |_, message| content(message));
    assert_eq!(peer.histories(), (said(&all[1]), Vec::new()));
    peer.store.mood = Mood::Takes;
    peer.converse(5_000, |_, message| content(message));
    assert_eq!(peer.histories(), (said(&all[0][..3]), said(&all[1][2..])));
}

#[test]
fn a_machine_that_was_resumed_twice_loses_no_post_and_says_none_twice() {
    let mut world = World::meshed(3);
    world.say(2, "before");
    world.run_for(3_000);
    world.resume_twice(2, 7);
    // Both say something else with the same numbers before they hear of each other.
    world.cut(2, 1);
    world.cut(2, 3);
    for text in ["one a", "one b"] {
        world.say(2, text);
    }
    world.command(7, Command::Publish { token: 0, posts: vec![keyed("two a", "k"), draft("two b")] });
    world.run_for(120_000);
    let digest = world.peer(1).mesh.status().digest;
    for n in [1, 2, 3, 7] {
        let peer = world.peer(n);
        assert_eq!(peer.mesh.status().digest, digest, "peer {n}");
        let (mut kept, _) = peer.histories();
        kept.sort();
        assert_eq!(kept, ["before", "one a", "one b", "two a", "two b"], "peer {n}");
        assert_eq!(peer.offences(), Vec::<String>::new());
    }
    // Each of them has an epoch of its own now, and what was said again names what it was.
    let instances = [2, 7].map(|n| world.peer(n).mesh.status().instance);
    assert_ne!(instances[0], instances[1]);
    assert!(instances.iter().all(|instance| instance.map(|it| it.epoch) != Some(super::kit::EPOCH)));
    let stored: Vec<_> = world.peer(1).store.stored.clone();
    let again = stored.iter().flat_map(|held| held.envelope.body().posts.clone()).filter(|post| post.was.is_some());
    assert_eq!(again.count(), 2);
}

#[test]
fn what_is_sealed_for_one_is_said_again_as_it_was_when_it_lost_its_number() {
    let mut world = World::meshed(2);
    world.say(2, "before");
    world.run_for(3_000);
    world.resume_twice(2, 7);
    world.cut(2, 1);
    let letter = |sealed: &str| Direct { to: super::kit::id(1), sealed: sealed.into() };
    for (n, sealed) in [(2, "b25l"), (7, "dHdv")] {
        let posts = vec![Draft { room: String::new(), direct: Some(letter(sealed)), ..draft("") }];
        world.command(n, Command::Publish { token: 0, posts });
    }
    world.run_for(120_000);
    for n in [1, 2, 7] {
        let stored = &world.peer(n).store.stored;
        let kept = stored.iter().filter(|held| !held.forked).flat_map(|held| held.envelope.body().posts.clone());
        let (mut letters, again): (Vec<Direct>, Vec<bool>) =
            kept.filter_map(|post| Some((*post.direct?, post.was.is_some()))).unzip();
        letters.sort_by(|a, b| a.sealed.cmp(&b.sealed));
        assert_eq!(letters, [letter("b25l"), letter("dHdv")], "peer {n}");
        assert_eq!(again.iter().filter(|is_again| **is_again).count(), 1, "peer {n}");
    }
}

#[test]
fn what_a_daemon_said_of_its_network_is_said_again_when_it_lost_its_number() {
    let mut world = World::meshed(2);
    world.say(2, "before");
    world.run_for(3_000);
    world.resume_twice(2, 7);
    world.cut(2, 1);
    for (n, text) in [(2, "one"), (7, "two")] {
        world.command(n, Command::Publish { token: 0, posts: vec![Draft::network(text.into())] });
    }
    world.run_for(120_000);
    for n in [1, 2, 7] {
        let stored = world.peer(n).store.stored.iter().filter(|held| !held.forked);
        let posts = stored.flat_map(|held| held.envelope.body().posts.clone());
        let mut texts: Vec<String> =
            posts.filter(|post| post.kind == crate::envelope::NETWORK).map(|post| post.text.to_string()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["one", "two"], "peer {n}");
    }
}

#[test]
fn a_machine_whose_twin_spoke_first_goes_on_under_a_new_epoch_without_a_fork() {
    let mut world = World::meshed(2);
    world.say(2, "before");
    world.run_for(3_000);
    world.resume_twice(2, 7);
    world.cut(2, 1);
    world.run_for(20_000);
    world.say(7, "the twin");
    world.run_for(60_000);
    world.say(2, "and we");
    world.run_for(20_000);
    for n in [1, 2, 7] {
        assert_eq!(world.peer(n).histories(), (vec!["before".into(), "the twin".into(), "and we".into()], vec![]));
    }
}

#[test]
fn what_lost_its_number_is_said_again_once_also_over_a_restart() {
    let old = super::kit::EPOCH.0 - 1;
    let trunk = chain(1, old, 1, &["t"]);
    let other = |text: &str| sealed(1, old, 2, Some(trunk[0].hash()), &[text]);
    let mut pair = [other("ours"), other("theirs")];
    pair.sort_by_key(|envelope| std::cmp::Reverse(envelope.hash()));
    let [loser, winner] = pair;
    let disk = [trunk[0].clone(), loser.clone()];
    let mut peer = Peer::start_having_said(1, super::kit::config(1), &disk);
    let link = peer.accept(2);
    peer.hear(link, &proof(&winner, &loser));
    peer.converse(3_000, |_, message| content(message));
    let lost = loser.body().posts[0].text.to_string();
    let kept = peer.histories().0;
    assert_eq!(kept.iter().filter(|text| **text == lost).count(), 1, "{kept:?}");
    let again = texts(&peer.delivered());
    assert!(again.contains(&lost));
    // A start after that finds nothing more to say, and one that came before it would have said it.
    let said_before = peer.store.stored.len();
    let mut restarted = peer.restarted(super::kit::EPOCH.0 + 5);
    restarted.run_for(10_000);
    assert_eq!(restarted.store.stored.len(), said_before);
}

#[test]
fn two_that_run_as_one_and_say_nothing_stop_taking_each_others_links() {
    let mut world = World::meshed(3);
    world.resume_twice(2, 7);
    world.run_for(120_000);
    let epochs: Vec<_> = [2, 7].map(|n| world.peer(n).mesh.status().instance.map(|it| it.epoch)).to_vec();
    assert_ne!(epochs[0], epochs[1]);
    world.frames.clear();
    world.run_for(120_000);
    let is_news = |message: &Message| !matches!(message, Message::Ping(_) | Message::Pong(_));
    assert!(world.frames.iter().all(|(_, _, message)| !is_news(message)), "the mesh is quiet");
}
