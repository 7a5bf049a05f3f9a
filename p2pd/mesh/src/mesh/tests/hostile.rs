//! A neighbour that is wrong, hostile or broken changes nothing but its own standing.

use bytes::Bytes;

use super::kit::{Peer, at, chain, content, draft, envelope, hello, id, pushed, stamp};
use crate::envelope::{Body, Envelope, Post, Stamp};
use crate::id::{Epoch, FeedId, INTEGER_END, Instance, LinkId, Seq};
use crate::limits::{NEW_FEEDS_BURST, NEWEST_FIRST_POSTS, RANGES_PER_WANT_MAX, REORDER_BYTES_MAX};
use crate::wire::frame::PREFIX_LEN;
use crate::wire::message::{ByeCode, Envelopes, Have, Head, Heads, Message, Want};

pub(super) fn linked(peer: &mut Peer, n: u8) -> LinkId {
    let link = peer.accept(n);
    peer.converse(2_000, |_, message| content(message));
    peer.take_all_said();
    link
}

fn forged(text: &str) -> Message {
    let honest = envelope(3, 7, 1, None, text);
    let items = vec![Envelope::parse(honest.bytes().clone(), [1; 64]).unwrap()];
    Message::Envelopes(Envelopes { items, hop: 0, live: true, more: false })
}

/// A head of a run of peer 3 that nobody ever saw.
fn bogus(epoch: u64, head: u64) -> Head {
    Head { feed: Instance { id: id(3), epoch: Epoch(epoch) }, floor: Seq(1.min(head)), head: Seq(head), hash: [0; 8] }
}

pub(super) fn is_banned(said: &[Message]) -> bool {
    said.iter().any(|message| matches!(message, Message::Bye(bye) if bye.code == ByeCode::Banned))
}

#[test]
fn w_12_a_forged_signature_changes_nothing_and_bans_who_brought_it() {
    let mut peer = Peer::new(1);
    let (liar, other) = (linked(&mut peer, 2), linked(&mut peer, 4));
    peer.hear(liar, &forged("never said"));
    assert!(is_banned(&peer.said(liar)));
    assert_eq!(peer.hung_up(), [liar]);
    assert!(peer.history().is_empty());
    // The author has no part in it: the real one is taken from whoever brings it.
    peer.hear(other, &pushed(&chain(3, 7, 1, &["really said"])));
    assert_eq!(peer.history(), ["really said"]);
    // For an hour the liar is not heard.
    let again = peer.accept(2);
    assert!(is_banned(&peer.said(again)));
    peer.converse(3_600_000, |_, message| content(message));
    let later = peer.accept_hello(2, hello(2));
    assert!(!is_banned(&peer.said(later)));
}

#[test]
fn w_12_a_signature_of_somebody_else_is_forged() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feed = Instance { id: id(3), epoch: Epoch(7) };
    let body = Body { feed, first: Seq(1), prev: None, at: stamp(1), posts: vec![Post::chat("general", "x")] };
    peer.hear(link, &pushed(&[body.sign(&super::kit::key(2))]));
    assert!(is_banned(&peer.said(link)));
    assert!(peer.history().is_empty());
}

#[test]
fn w_05_two_frames_that_are_no_messages_are_a_ban() {
    let mut peer = Peer::new(1);
    for (n, frame) in ["not json", "[1,2]"].into_iter().enumerate() {
        let link = peer.accept(2);
        peer.said(link);
        peer.hear_bytes(link, Bytes::from_static(frame.as_bytes()));
        let said = peer.said(link);
        let Some(Message::Bye(bye)) = said.last() else { panic!("{said:?}") };
        assert_eq!(bye.code, [ByeCode::Protocol, ByeCode::Banned][n]);
        assert_eq!(peer.hung_up(), [link]);
    }
}

#[test]
fn w_10_frames_of_later_protocols_are_counted_and_ignored() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    for frame in [r#"{"type":"telepathy","to":[1]}"#, r#"{"type":"join"}"#, r#"{"type":"range","a":1,"b":2}"#] {
        peer.hear_bytes(link, Bytes::from_static(frame.as_bytes()));
    }
    assert_eq!((peer.count("frames_unknown_total"), peer.count("frames_ignored_total")), (1, 2));
    assert_eq!(peer.mesh.status().peers_up, 1);
    assert!(peer.said(link).is_empty());
}

#[test]
fn w_16_a_message_replayed_a_thousand_times_is_delivered_once() {
    let mut peer = Peer::new(1);
    let (from, other) = (linked(&mut peer, 2), linked(&mut peer, 4));
    let message = pushed(&chain(3, 7, 1, &["x"]));
    for _ in 0..1_000 {
        peer.hear(from, &message);
    }
    peer.run_for(1_000);
    assert_eq!(peer.delivered().len(), 1);
    assert_eq!(super::kit::texts_said(&peer.said(other)), ["x"]);
    assert_eq!(peer.count("posts_duplicate_total"), 999);
    assert_eq!(peer.mesh.status().peers_up, 2);
}

#[test]
fn w_17_a_gap_of_a_thousand_million_is_one_question_and_little_memory() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let far = 1_000_000_000;
    peer.hear(link, &pushed(&[envelope(3, 7, far, Some(crate::id::Hash([1; 32])), "far")]));
    peer.run_for(500);
    let said = peer.said(link);
    let wants: Vec<&Want> =
        said.iter().filter_map(|message| if let Message::Want(want) = message { Some(want) } else { None }).collect();
    assert_eq!(wants.len(), 1);
    assert_eq!(wants[0].ranges[..1], [(Seq(far - NEWEST_FIRST_POSTS / 2), Some(Seq(far - 1)))]);
    assert_eq!(wants[0].ranges.len(), RANGES_PER_WANT_MAX);
    // Whatever comes beyond the gap waits within its limit, and the rest is dropped.
    for n in 1..600 {
        peer.hear(link, &pushed(&[envelope(3, 7, far + 2 * n, Some(crate::id::Hash([1; 32])), "far")]));
    }
    assert_eq!(peer.count("posts_dropped_total"), 600 - 256);
    assert!(peer.history().is_empty());
}

/// Of each, four envelopes of four posts with this text wait: 64 KB each, which is within the limit of one feed.
fn feeds_that_may_wait(text: &str) -> u64 {
    let envelope = chain(3, 1, 2, &[text; 4]).remove(1);
    let read = crate::envelope::Envelope::parse(envelope.bytes().clone(), *envelope.signature()).unwrap();
    (REORDER_BYTES_MAX / (4 * read.memory_bytes())) as u64
}

#[test]
fn w_17_what_waits_beyond_gaps_has_a_limit_for_all_feeds_together() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let text = "x".repeat(16_000);
    let fitting = feeds_that_may_wait(&text);
    for epoch in 1..=fitting + 4 {
        let feed = chain(3, epoch, 5, &[text.as_str(); 4]);
        feed[1..].iter().for_each(|envelope| peer.hear(link, &pushed(std::slice::from_ref(envelope))));
        assert_eq!(peer.count("posts_dropped_total") > 0, epoch > fitting, "feed {epoch} of {fitting}");
    }
}

#[test]
fn w_17_what_waits_beyond_a_gap_is_given_back_when_nobody_is_left_to_fill_it() {
    let mut peer = Peer::new(1);
    let text = "x".repeat(16_000);
    for turn in 0..3 {
        let link = linked(&mut peer, 2);
        // Each time all that may wait, so nothing of the time before can still be there.
        for epoch in 1..=feeds_that_may_wait(&text) {
            let feed = chain(3, turn * 1_000 + epoch, 5, &[text.as_str(); 4]);
            feed[1..].iter().for_each(|envelope| peer.hear(link, &pushed(std::slice::from_ref(envelope))));
        }
        peer.close(link);
    }
    assert_eq!(peer.count("posts_dropped_total"), 0);
}

#[test]
fn w_17_feeds_that_nobody_wrote_are_not_kept_for_ever() {
    // The same peer comes, names hundreds of runs without a single post, goes, and comes again.
    let mut peer = Peer::new(1);
    for turn in 0..20 {
        let link = linked(&mut peer, 2);
        for part in 0..2 {
            let heads = (0..256).map(|n| bogus(turn * 1_000 + part * 256 + n + 1, 0)).collect();
            peer.hear(link, &Message::Heads(Heads { part, of: 2, heads }));
        }
        peer.close(link);
    }
    // Their number shows nowhere at the door: they hold nothing.
    let kept = peer.mesh.feeds.iter().count();
    assert!(kept <= 2 * NEW_FEEDS_BURST as usize, "{kept} feeds of nothing");
}

#[test]
fn w_17_unknown_feeds_are_taken_in_at_a_rate() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let haves =
        (0..1_000u64).map(|n| Have { feed: FeedId((u128::from(n) << 64).to_be_bytes()), head: Seq(1), floor: Seq(1) });
    peer.hear(link, &Message::Have(haves.collect()));
    assert_eq!(peer.count("feeds_delayed_total"), 1_000 - u64::from(NEW_FEEDS_BURST));
}

#[test]
fn what_nobody_can_make_good_adds_up_without_overflow() {
    let mut peer = Peer::new(1);
    for n in 2..=6 {
        let link = peer.accept(n);
        for part in 0..2 {
            let first = u64::from(n) * 10_000 + part * 256;
            let heads = (0..256).map(|feed| bogus(first + feed, INTEGER_END - 1)).collect();
            peer.hear(link, &Message::Heads(Heads { part, of: 2, heads }));
        }
    }
    assert!(peer.mesh.status().missing_posts >= INTEGER_END - 1);
}

#[test]
fn k_01_a_stamp_at_its_limit_does_not_spoil_what_we_say_next() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feed = Instance { id: id(3), epoch: Epoch(7) };
    // Within the minute that a clock may be ahead, with the last counter that is one.
    let at = Stamp { ms: at(59_000).unix_ms, counter: INTEGER_END - 2 };
    let body = Body { feed, first: Seq(1), prev: None, at, posts: vec![Post::chat("general", "evil")] };
    peer.hear(link, &pushed(&[body.sign(&super::kit::key(3))]));
    assert_eq!(peer.offences(), Vec::<String>::new());
    peer.publish(1, vec![draft("a"), draft("b")]);
    assert!(peer.published()[0].1.iter().all(Result::is_ok));
    // The harness reads whatever is sent.
    assert_eq!(super::kit::texts_said(&peer.said(link)), ["a", "b"]);
    assert_eq!(peer.history(), ["evil", "a", "b"]);
}

#[test]
fn an_envelope_in_memory_does_not_keep_the_frame_that_brought_it() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let message = pushed(&chain(3, 7, 1, &["x"])).encode().slice(PREFIX_LEN..);
    let padding = format!("\"pad\":\"{}\",\"hop\"", "p".repeat(100_000));
    let padded = String::from_utf8(message.to_vec()).unwrap().replacen("\"hop\"", &padding, 1);
    let frame = Bytes::from(padded.into_bytes());
    peer.hear_bytes(link, frame.clone());
    peer.effects.clear();
    assert_eq!(peer.history(), ["x"]);
    assert!(frame.is_unique(), "100 KB are kept for an envelope of 250 bytes");
}

#[test]
fn w_18_what_is_announced_and_never_served_costs_points_and_is_forgotten() {
    let mut peer = Peer::new(1);
    let link = linked(&mut peer, 2);
    let feed = FeedId([7; 16]);
    peer.hear(link, &Message::Have(vec![Have { feed, head: Seq(5), floor: Seq(1) }]));
    assert_eq!(peer.mesh.status().missing_posts, 5);
    let mut wants = 0;
    peer.converse(120_000, |_, message| {
        wants += u32::from(matches!(message, Message::Want(_)));
        // It is there, and says all kinds of things but what was asked for.
        let mut said = content(message);
        said.push(Message::View(crate::wire::message::View { full: true, neighbors: Vec::new(), estimate: 1 }));
        said
    });
    assert!((1..=20).contains(&wants), "{wants} wants");
    assert_eq!(peer.offences().len(), 1);
    let status = peer.mesh.status();
    assert_eq!((status.missing_posts, status.peers_up), (0, 1));
}
