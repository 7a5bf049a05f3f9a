//! Each promise is broken once, and the judge must see exactly that.

#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use p2p_mesh::envelope::{Body, Post, Stamp, VerifiedEnvelope};
use p2p_mesh::id::{Epoch, Hash, Seq};

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn author(seed: u8) -> PeerId {
    PeerId(key(seed).verifying_key().to_bytes())
}

fn id(seed: u8, seq: u64) -> PostId {
    PostId { feed: Instance { id: author(seed), epoch: Epoch(1) }, seq: Seq(seq) }
}

fn said(seed: u8, text: &str, outcome: Outcome) -> Operation {
    Operation { author: author(seed), session: 1, key: None, room: "general".into(), text: text.into(), outcome }
}

fn shown(offset: u64, id: PostId, text: &str) -> Shown {
    Shown { offset: Offset(offset), id, key: None, room: "general".into(), text: text.into(), late: false }
}

fn late(offset: u64, id: PostId, text: &str) -> Shown {
    Shown { late: true, ..shown(offset, id, text) }
}

fn history(peer: &str, posts: &[Shown]) -> History {
    History { peer: peer.into(), posts: posts.to_vec(), gaps: Vec::new() }
}

/// Two authors, three posts, everything as it should be.
fn good() -> (Vec<Operation>, History) {
    let operations = vec![
        said(1, "a", Outcome::Ok(id(1, 1))),
        said(1, "b", Outcome::Ok(id(1, 2))),
        said(2, "c", Outcome::Unknown),
        said(2, "d", Outcome::Fail),
    ];
    let posts = [shown(1, id(1, 1), "a"), shown(2, id(2, 1), "c"), shown(3, id(1, 2), "b")];
    (operations, history("p1", &posts))
}

#[test]
fn a_kept_promise_is_seen_as_one() {
    let (operations, history) = good();
    let other = History { peer: "p2".into(), ..history.clone() };
    assert_eq!(check_stream(&history), []);
    assert_eq!(check_whole(&history, Begins::AtTheFirst), []);
    assert_eq!(check_content(&operations, &history), []);
    assert_eq!(check_acks(&operations), []);
    assert_eq!(check_end(&operations, &[history, other]), []);
}

#[test]
fn a_post_that_is_shown_twice_is_seen() {
    let twice = history("p1", &[shown(1, id(1, 1), "a"), shown(2, id(1, 1), "a")]);
    assert_eq!(check_stream(&twice), [Violation::DeliveredTwice { peer: "p1".into(), id: id(1, 1) }]);
    let again = history("p1", &[shown(1, id(1, 1), "a"), late(2, id(1, 1), "a")]);
    assert_eq!(check_stream(&again), [Violation::DeliveredTwice { peer: "p1".into(), id: id(1, 1) }]);
}

#[test]
fn a_hole_and_a_late_beginning_are_seen() {
    let hole = history("p1", &[shown(1, id(1, 2), "b"), shown(2, id(1, 4), "d")]);
    let at = |seq, expected| Violation::Hole { peer: "p1".into(), id: id(1, seq), expected };
    assert_eq!(check_whole(&hole, Begins::AtTheFirst), [at(2, 1), at(4, 3)]);
    assert_eq!(check_whole(&hole, Begins::Anywhere), [at(4, 3)]);
}

#[test]
fn posts_in_the_wrong_order_are_seen_unless_they_are_said_to_be_late() {
    let swapped = history("p1", &[shown(1, id(1, 2), "b"), shown(2, id(1, 1), "a")]);
    assert_eq!(check_stream(&swapped), [Violation::OutOfOrder { peer: "p1".into(), id: id(1, 1) }]);
    let told = history("p1", &[shown(1, id(1, 2), "b"), late(2, id(1, 1), "a"), shown(3, id(1, 3), "c")]);
    assert_eq!(check_stream(&told), []);
    assert_eq!(check_whole(&told, Begins::AtTheFirst), []);
}

#[test]
fn what_is_not_late_is_in_order_also_among_what_is() {
    let mixed = [shown(1, id(1, 5), "e"), late(2, id(1, 1), "a"), late(3, id(1, 2), "b"), shown(4, id(1, 4), "d")];
    assert_eq!(check_stream(&history("p1", &mixed)), [Violation::OutOfOrder { peer: "p1".into(), id: id(1, 4) }]);
}

#[test]
fn a_hole_that_was_told_of_is_none() {
    let mut told = history("p1", &[shown(1, id(1, 1), "a"), shown(2, id(1, 5), "e")]);
    let hole = |expected, seq| Violation::Hole { peer: "p1".into(), id: id(1, seq), expected };
    assert_eq!(check_whole(&told, Begins::AtTheFirst), [hole(2, 5)]);
    told.gaps = vec![(id(1, 1).feed, Seq(2), Seq(3))];
    assert_eq!(check_whole(&told, Begins::AtTheFirst), [hole(4, 5)]);
    told.gaps = vec![(id(2, 1).feed, Seq(2), Seq(4)), (id(1, 1).feed, Seq(2), Seq(4))];
    assert_eq!(check_whole(&told, Begins::AtTheFirst), []);
}

#[test]
fn an_offset_that_comes_again_is_seen() {
    let same = history("p1", &[shown(5, id(1, 1), "a"), shown(5, id(2, 1), "c")]);
    let seen = [Violation::OffsetOrder { peer: "p1".into(), offset: Offset(5) }];
    assert_eq!(check_stream(&same), seen);
}

#[test]
fn what_nobody_said_and_what_was_refused_is_seen() {
    let (operations, _) = good();
    for (seed, text) in [(1, "x"), (2, "d"), (2, "a")] {
        let seen = check_content(&operations, &history("p1", &[shown(1, id(seed, 9), text)]));
        assert_eq!(seen, [Violation::NotSent { peer: "p1".into(), id: id(seed, 9), text: text.into() }]);
    }
}

#[test]
fn one_unanswered_send_explains_one_post_only() {
    let (operations, _) = good();
    let twice = history("p1", &[shown(1, id(2, 1), "c"), shown(2, id(2, 2), "c")]);
    assert_eq!(check_content(&operations, &twice).len(), 1);
}

#[test]
fn an_altered_post_is_seen() {
    let (operations, _) = good();
    let altered = history("p1", &[shown(1, id(1, 1), "a ")]);
    assert_eq!(check_content(&operations, &altered), [Violation::Altered { peer: "p1".into(), id: id(1, 1) }]);
}

#[test]
fn a_lost_acknowledged_post_is_seen() {
    let (operations, full) = good();
    let short = history("p2", &full.posts[..2]);
    let seen = check_end(&operations, &[short.clone(), short]);
    let lost = Violation::AckLost { peer: "p2".into(), id: id(1, 2) };
    assert_eq!(seen, [lost.clone(), lost]);
}

#[test]
fn histories_that_differ_are_seen_from_both_sides() {
    let one = history("p1", &[shown(1, id(1, 1), "a")]);
    let two = history("p2", &[shown(1, id(2, 1), "c"), shown(2, id(2, 2), "d")]);
    let unequal =
        |has: &str, lacks: &str, id, count| Violation::Unequal { has: has.into(), lacks: lacks.into(), id, count };
    let seen = check_end(&[], &[one, two]);
    assert_eq!(seen, [unequal("p1", "p2", id(1, 1), 1), unequal("p2", "p1", id(2, 1), 2)]);
}

#[test]
fn a_number_that_was_used_twice_is_seen() {
    let acked = [said(1, "a", Outcome::Ok(id(1, 1))), said(1, "b", Outcome::Ok(id(1, 1)))];
    assert_eq!(check_acks(&acked), [Violation::NumberReused { id: id(1, 1) }]);
    let (one, two) = (history("p1", &[shown(1, id(1, 1), "a")]), history("p2", &[shown(1, id(1, 1), "b")]));
    assert_eq!(check_end(&[], &[one, two]), [Violation::NumberReused { id: id(1, 1) }]);
}

#[test]
fn a_send_that_is_acknowledged_as_somebody_elses_is_seen() {
    let acked = [said(1, "a", Outcome::Ok(id(2, 1)))];
    assert_eq!(check_acks(&acked), [Violation::NumberReused { id: id(2, 1) }]);
}

#[test]
fn a_key_that_names_two_posts_is_seen() {
    let keyed = |offset, id, text: &str| Shown { key: Some("k".into()), ..shown(offset, id, text) };
    let mut operation = said(1, "a", Outcome::Unknown);
    operation.key = Some("k".into());
    let twice = history("p1", &[keyed(1, id(1, 1), "a"), keyed(2, id(1, 2), "a")]);
    let seen = check_content(&[operation.clone(), operation], &twice);
    assert_eq!(seen, [Violation::KeyTwice { key: "k".into(), id: id(1, 2) }]);
}

#[test]
fn a_session_out_of_order_is_seen() {
    let acked = [said(1, "a", Outcome::Ok(id(1, 2))), said(1, "b", Outcome::Ok(id(1, 1)))];
    assert_eq!(check_acks(&acked), [Violation::AckOrder { id: id(1, 1) }]);
}

fn envelope(seed: u8, first: u64, prev: Option<Hash>) -> VerifiedEnvelope {
    let feed = Instance { id: author(seed), epoch: Epoch(1) };
    let (at, posts) = (Stamp { ms: first, counter: 0 }, vec![Post::chat("general", "x")]);
    Body { feed, first: Seq(first), prev, at, posts }.sign(&key(seed))
}

fn stored(envelope: &Envelope) -> (Bytes, [u8; 64]) {
    (envelope.bytes().clone(), *envelope.signature())
}

#[test]
fn a_whole_chain_is_seen_as_one() {
    let first = envelope(1, 1, None);
    let second = envelope(1, 2, Some(first.hash()));
    assert_eq!(check_envelopes("p1", [stored(&first), stored(&second)]), []);
}

#[test]
fn a_forged_signature_and_garbage_are_seen() {
    let first = envelope(1, 1, None);
    let mut forged = stored(&first);
    forged.1[3] ^= 1;
    let garbage = (Bytes::from_static(b"{}"), forged.1);
    let bad = |feed| Violation::BadSignature { peer: "p1".into(), feed };
    assert_eq!(check_envelopes("p1", [garbage, forged]), [bad(None), bad(Some(first.feed()))]);
}

#[test]
fn a_broken_chain_is_seen() {
    let (first, other) = (envelope(1, 1, None), envelope(1, 2, Some(Hash([7; 32]))));
    let broken = |seq| Violation::BrokenChain { peer: "p1".into(), id: id(1, seq) };
    assert_eq!(check_envelopes("p1", [stored(&first), stored(&other)]), [broken(2)]);
    assert_eq!(check_envelopes("p1", [stored(&other), stored(&first)]), [broken(2)]);
    assert_eq!(check_envelopes("p1", [stored(&first), stored(&first)]), [broken(1)]);
}

#[test]
fn runs_of_a_chain_in_any_order_are_seen_as_whole() {
    let mut chain = vec![envelope(1, 1, None)];
    for seq in 2..=6 {
        chain.push(envelope(1, seq, chain.last().map(|last| last.hash())));
    }
    let some = [5, 0, 2, 4, 1].map(|place: usize| stored(&chain[place]));
    assert_eq!(check_envelopes("p1", some), []);
}
