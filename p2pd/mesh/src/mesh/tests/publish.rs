//! What our own user says: refused, sealed together, answered once it is flushed, known again by its key.

use super::disk::Mood;
use super::kit::{EPOCH, Peer, draft, id, keyed, run, texts_said};
use crate::effect::{Refusal, Sent};
use crate::envelope::{Direct, Post};
use crate::id::{INTEGER_END, Instance, LinkId, Offset, PostId, Seq};
use crate::input::Draft;
use crate::limits::{
    BACKLOG_BYTES_MAX, BACKLOG_WAIT, BODY_LEN_MAX, KEY_LEN_MAX, OUTBOX_POSTS_MAX, POSTS_PER_ENVELOPE_MAX, TEXT_LEN_MAX,
};

fn post_id(seq: u64) -> PostId {
    PostId { feed: run(1), seq: Seq(seq) }
}

/// The sequence numbers of the answers to one command, which all are good.
fn seqs(results: &[Result<Sent, Refusal>]) -> Vec<u64> {
    results.iter().map(|result| result.as_ref().unwrap().id.seq.0).collect()
}

/// How many posts each append's envelopes have.
fn sizes(peer: &mut Peer) -> Vec<Vec<usize>> {
    let posts = |append: crate::effect::Append| {
        append.envelopes.iter().map(|delivery| delivery.envelope.body().posts.len()).collect()
    };
    peer.appends().into_iter().map(posts).collect()
}

#[track_caller]
fn check_refused(draft: Draft, expected: Refusal) {
    let mut peer = Peer::new(1);
    peer.publish(1, vec![draft]);
    assert_eq!(peer.published(), [(1, vec![Err(expected)])]);
    assert_eq!(peer.mesh.status().posts, 0);
}

#[test]
fn w_24_what_no_envelope_can_hold_is_refused_at_the_sender() {
    let limit = TEXT_LEN_MAX;
    check_refused(draft(""), Refusal::Empty);
    check_refused(draft(" \n\t"), Refusal::Empty);
    check_refused(draft(&"x".repeat(limit + 1)), Refusal::TooLong { len: limit + 1, limit });
    check_refused(draft("a\0b"), Refusal::Nul);
    check_refused(keyed("a", "k\0"), Refusal::Nul);
    check_refused(keyed("a", &"k".repeat(129)), Refusal::KeyTooLong { len: 129, limit: KEY_LEN_MAX });
    for room in ["", "General", "-a", "a b", "ä", &"a".repeat(65)] {
        let refusal = Refusal::Room(room.chars().take(64).collect());
        check_refused(Draft { room: room.into(), ..draft("a") }, refusal);
    }
    for (epoch, seq) in [(1, 0), (1, INTEGER_END), (INTEGER_END, 1)] {
        let feed = Instance { id: id(2), epoch: crate::id::Epoch(epoch) };
        check_refused(Draft { re: Some(PostId { feed, seq: Seq(seq) }), ..draft("a") }, Refusal::Reply);
    }
}

#[test]
fn w_24_what_is_exactly_at_its_limit_is_sent_and_can_be_read() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    let text = "x".repeat(TEXT_LEN_MAX);
    let key = "k".repeat(KEY_LEN_MAX);
    peer.publish(1, vec![Draft { room: "a".repeat(64), ..keyed(&text, &key) }]);
    assert_eq!(seqs(&peer.published()[0].1), [1]);
    assert_eq!(texts_said(&peer.said(link)), [text]);
}

#[test]
fn a_text_that_fits_only_before_it_is_escaped_is_refused() {
    let mut peer = Peer::new(1);
    // Six bytes each in JSON: 16,384 of them are within the text's limit and fit no envelope.
    peer.publish(1, vec![draft(&"\u{1}".repeat(TEXT_LEN_MAX)), draft(&"\u{1}".repeat(10_000))]);
    let published = peer.published();
    let [Err(Refusal::TooLong { limit, .. }), Ok(_)] = &published[0].1[..] else { panic!("{published:?}") };
    assert!(*limit < BODY_LEN_MAX);
}

#[test]
fn a_command_without_posts_is_answered() {
    let mut peer = Peer::new(1);
    peer.publish(3, Vec::new());
    assert_eq!(peer.published(), [(3, Vec::new())]);
}

#[test]
fn one_bad_post_does_not_spoil_the_others() {
    let mut peer = Peer::new(1);
    peer.publish(1, vec![draft("a"), draft(""), draft("b")]);
    let published = peer.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].1[1], Err(Refusal::Empty));
    assert_eq!(published[0].1[0].as_ref().unwrap().id, post_id(1));
    assert_eq!(published[0].1[2].as_ref().unwrap().id, post_id(2));
    assert_eq!(peer.history(), ["a", "b"]);
}

#[test]
fn the_first_post_goes_alone_and_those_said_during_its_flush_share_an_envelope() {
    let mut peer = Peer::new(1);
    peer.store.mood = Mood::Waits;
    peer.say("first");
    for text in ["a", "b", "c"] {
        peer.say(text);
    }
    assert_eq!(sizes(&mut peer), [[1]]);
    peer.store_answers(Mood::Takes);
    assert_eq!(sizes(&mut peer), [[3]]);
    peer.store_answers(Mood::Takes);
    assert_eq!(peer.history(), ["first", "a", "b", "c"]);
    peer.say("alone again");
    assert_eq!(sizes(&mut peer), [[1]]);
}

#[test]
fn own_posts_are_flushed_and_what_others_wrote_need_not_be() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.hear(link, &super::kit::pushed(&super::kit::chain(2, EPOCH.0, 1, &["theirs"])));
    peer.say("ours");
    let appends = peer.appends();
    assert_eq!(appends.iter().map(|append| append.flush).collect::<Vec<_>>(), [false, true]);
    assert_eq!(appends.iter().map(|append| append.envelopes[0].own).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn nobody_is_answered_and_nothing_is_sent_before_the_flush() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    peer.said(link);
    peer.store.mood = Mood::Waits;
    peer.publish(5, vec![draft("a")]);
    assert_eq!(peer.published(), []);
    assert!(peer.delivered().is_empty());
    assert!(texts_said(&peer.said(link)).is_empty());
    peer.store_answers(Mood::Takes);
    let published = peer.published();
    assert_eq!((published[0].0, seqs(&published[0].1)), (5, vec![1]));
    assert_eq!(texts_said(&peer.said(link)), ["a"]);
}

#[test]
fn an_envelope_holds_at_most_256_posts() {
    let mut peer = Peer::new(1);
    peer.publish(1, (0..600).map(|n| draft(&format!("{n}"))).collect());
    assert_eq!(sizes(&mut peer), [[POSTS_PER_ENVELOPE_MAX, POSTS_PER_ENVELOPE_MAX, 600 - 2 * POSTS_PER_ENVELOPE_MAX]]);
    let published = peer.published();
    assert_eq!(seqs(&published[0].1), (1..=600).collect::<Vec<_>>());
    let offsets: Vec<Offset> = published[0].1.iter().map(|result| result.as_ref().unwrap().offset).collect();
    assert_eq!(offsets, (1..=600).map(Offset).collect::<Vec<_>>());
    assert_eq!(peer.history(), (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_body_is_filled_and_never_passes_64_kib() {
    let mut peer = Peer::new(1);
    let link = peer.accept(2);
    // Of all lengths around the even share, with everything that costs bytes beside the text.
    for len in [1, 100, 150, 199, 200, 201, 208, 214, 250, 255, 256, 300, 1_000, 16_000, TEXT_LEN_MAX] {
        let re = Some(PostId { feed: Instance { id: id(2), epoch: crate::id::Epoch(INTEGER_END - 1) }, seq: Seq(1) });
        peer.publish(1, (0..600).map(|_| Draft { re, ..draft(&"\"".repeat(len.min(8_000))) }).collect());
        peer.publish(1, (0..600).map(|_| draft(&"z".repeat(len))).collect());
    }
    let appends = peer.appends();
    let bodies: Vec<usize> =
        appends.iter().flat_map(|append| &append.envelopes).map(|own| own.envelope.bytes().len()).collect();
    assert!(bodies.iter().all(|len| *len <= BODY_LEN_MAX), "{bodies:?}");
    assert!(bodies.iter().any(|len| *len > BODY_LEN_MAX - 600), "{bodies:?}");
    // What was sent was read back and found below a frame's limit by the harness.
    assert_eq!(texts_said(&peer.said(link)), peer.history());
}

#[test]
fn a_post_looked_up_by_its_key_holds_back_those_said_after_it() {
    let mut peer = Peer::new(1);
    peer.store.mood = Mood::Waits;
    peer.publish(1, vec![keyed("a", "k1")]);
    peer.publish(2, vec![draft("b")]);
    assert_eq!(sizes(&mut peer), Vec::<Vec<usize>>::new());
    peer.store_answers(Mood::Takes);
    peer.store_answers(Mood::Takes);
    assert_eq!(peer.history(), ["a", "b"]);
}

#[test]
fn g_06_the_same_message_again_is_the_first_one() {
    let mut peer = Peer::new(1);
    peer.publish(1, vec![keyed("a", "k")]);
    let first = peer.published()[0].1[0].clone().unwrap();
    assert!(!first.repeated);
    peer.publish(2, vec![keyed("a", "k")]);
    let again = peer.published()[0].1[0].clone().unwrap();
    assert_eq!(again, Sent { repeated: true, ..first });
    assert_eq!(peer.history(), ["a"]);
}

#[test]
fn g_06_the_same_message_twice_at_once_is_sent_once_and_both_are_answered() {
    let mut peer = Peer::new(1);
    peer.store.mood = Mood::Waits;
    peer.publish(1, vec![keyed("a", "k"), keyed("a", "k")]);
    peer.store_answers(Mood::Takes);
    // Looked up, sealed, not flushed: the third comes now.
    peer.publish(2, vec![keyed("a", "k")]);
    assert_eq!(peer.published(), []);
    while peer.store.waiting() > 0 {
        peer.store_answers(Mood::Takes);
    }
    let published = peer.published();
    let ids = |index: usize| published[index].1.iter().map(|result| result.as_ref().unwrap().id).collect::<Vec<_>>();
    assert_eq!(published.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((ids(0), ids(1)), (vec![post_id(1); 2], vec![post_id(1)]));
    let repeated: Vec<bool> = published[0].1.iter().map(|result| result.as_ref().unwrap().repeated).collect();
    assert_eq!(repeated, [false, true]);
    assert_eq!(peer.history(), ["a"]);
}

#[test]
fn g_07_a_key_with_other_content_is_refused_by_the_name_of_the_first() {
    let refusal = Refusal::KeyReused { key: "k".into(), used: post_id(1) };
    let mut peer = Peer::new(1);
    peer.publish(1, vec![keyed("a", "k")]);
    peer.published();
    for other in [keyed("b", "k"), Draft { room: "ops".into(), ..keyed("a", "k") }] {
        peer.publish(2, vec![other]);
        assert_eq!(peer.published(), [(2, vec![Err(refusal.clone())])]);
    }
    // And the same where the first is still on its way.
    let mut peer = Peer::new(1);
    peer.publish(3, vec![keyed("a", "k"), keyed("b", "k"), keyed("a", "k")]);
    let published = peer.published();
    assert_eq!(published[0].1[1], Err(refusal));
    assert_eq!(published[0].1[2].as_ref().unwrap().id, post_id(1));
    assert_eq!(peer.history(), ["a"]);
}

#[test]
fn d_06_a_full_disk_refuses_what_was_said_and_its_key_can_be_used_again() {
    let mut peer = Peer::new(1);
    peer.store.mood = Mood::Full;
    peer.publish(1, vec![keyed("a", "k"), keyed("a", "k"), draft("b")]);
    let refused = Err(Refusal::Store("disk full".into()));
    assert_eq!(peer.published(), [(1, vec![refused.clone(), refused.clone(), refused])]);
    assert!(peer.delivered().is_empty());
    peer.store.mood = Mood::Takes;
    peer.publish(2, vec![keyed("a", "k")]);
    assert_eq!(seqs(&peer.published()[0].1), [1], "no number was spent");
    assert_eq!(peer.history(), ["a"]);
}

#[test]
fn what_waits_for_a_slow_disk_has_a_limit() {
    let mut peer = Peer::new(1);
    peer.store.mood = Mood::Waits;
    peer.say("flushing");
    peer.publish(1, vec![draft("x"); OUTBOX_POSTS_MAX]);
    peer.publish(2, vec![draft("one too many")]);
    assert_eq!(peer.published(), [(2, vec![Err(Refusal::Busy { posts: OUTBOX_POSTS_MAX })])]);
    while peer.store.waiting() > 0 {
        peer.store_answers(Mood::Takes);
    }
    assert_eq!(peer.mesh.outbox_len(), 0);
    assert_eq!(peer.mesh.status().posts as usize, OUTBOX_POSTS_MAX + 1);
}

#[test]
fn a_repeated_key_does_not_hold_the_posts_around_it() {
    let mut peer = Peer::new(1);
    peer.publish(1, vec![keyed("a", "k")]);
    peer.publish(2, vec![draft("b"), keyed("a", "k"), draft("c")]);
    assert_eq!(seqs(&peer.published()[1].1), [2, 1, 3]);
    assert_eq!(peer.history(), ["a", "b", "c"]);
    assert_eq!(peer.mesh.outbox_len(), 0);
}

#[test]
fn an_earlier_run_s_feed_is_ours_and_not_continued() {
    let old = super::kit::chain(1, EPOCH.0 - 1, 2, &["old"]);
    let mut peer = Peer::start(1, super::kit::config(1), &old, Vec::new());
    peer.say("new");
    let append = &peer.appends()[0];
    let body = append.envelopes[0].envelope.body();
    assert_eq!((body.feed, body.first, body.prev), (run(1), Seq(1), None));
    assert_eq!(append.envelopes[0].offset, Offset(3));
}

#[test]
fn what_is_sealed_for_one_goes_the_way_of_all_posts_and_once_for_each_key() {
    let sealed = |text: &str| Draft {
        room: String::new(),
        direct: Some(Direct { to: id(2), sealed: text.into() }),
        ..keyed("", "k")
    };
    let mut peer = Peer::new(1);
    peer.publish(1, vec![sealed("c2VhbGVk")]);
    peer.publish(2, vec![sealed("c2VhbGVk"), sealed("b3RoZXI")]);
    let published = peer.published();
    assert!(published[1].1[0].as_ref().unwrap().repeated);
    assert_eq!(published[1].1[1], Err(Refusal::KeyReused { key: "k".into(), used: post_id(1) }));
    let delivered = peer.delivered();
    let posts: Vec<&Post> = delivered.iter().flat_map(|delivery| &delivery.envelope.body().posts).collect();
    assert_eq!(posts, [&Post { key: Some("k".into()), ..Post::direct(id(2), "c2VhbGVk") }]);
    // A sealed text that fits no envelope is refused as any other.
    check_refused(sealed(&"A".repeat(BODY_LEN_MAX)), {
        let limit = BODY_LEN_MAX - 400;
        let encoded = BODY_LEN_MAX + r#"{"kind":"direct","key":"k","to":"","sealed":""}"#.len() + 52;
        Refusal::TooLong { len: encoded, limit }
    });
}

#[test]
fn what_a_daemon_says_of_its_network_is_a_post_of_its_own_kind_in_no_room() {
    let mut peer = Peer::new(1);
    peer.publish(1, vec![Draft::network("{}".into())]);
    let delivered = peer.delivered();
    let posts: Vec<&Post> = delivered.iter().flat_map(|delivery| &delivery.envelope.body().posts).collect();
    assert_eq!(posts, [&Post::network("{}")]);
    assert_eq!((&*posts[0].kind, &*posts[0].room), ("network", ""));
}

/// Says large posts until one of them has to wait. Returns how many did not.
fn run_ahead(peer: &mut Peer) -> usize {
    let text = "x".repeat(TEXT_LEN_MAX);
    let mut count = 0;
    loop {
        peer.publish(count, vec![draft(&text)]);
        if peer.published().is_empty() {
            break;
        }
        count += 1;
    }
    let count = count as usize;
    assert!(count > BACKLOG_BYTES_MAX / TEXT_LEN_MAX, "{count} are no backlog");
    assert!(count < 2 * BACKLOG_BYTES_MAX / TEXT_LEN_MAX, "{count} have gone ahead");
    count
}

/// A peer that pushes its feed on these links, none of which takes anything any more.
fn pushing_to(others: &[u8]) -> (Peer, Vec<LinkId>) {
    let mut peer = Peer::new(1);
    let links: Vec<LinkId> = others.iter().map(|n| peer.accept(*n)).collect();
    peer.say("the first settles who pushes to whom");
    peer.run_for(3_000);
    peer.published();
    peer.take_all_said();
    peer.rests();
    links.iter().for_each(|link| peer.block(*link));
    (peer, links)
}

#[test]
fn who_runs_ahead_of_all_links_waits_for_the_quickest_of_them() {
    let (mut peer, links) = pushing_to(&[2, 3]);
    run_ahead(&mut peer);
    peer.unblock(links[1]);
    assert_eq!(peer.published().len(), 1, "one that is quick is enough");
    peer.say("at once");
    assert_eq!(peer.published().len(), 1);
}

#[test]
fn links_that_take_nothing_hold_nobody_up_for_long() {
    let (mut peer, _) = pushing_to(&[2]);
    run_ahead(&mut peer);
    let wait_ms = BACKLOG_WAIT.as_millis() as u64;
    for _ in 0..2 {
        peer.run_for(wait_ms - 1);
        assert_eq!(peer.published(), []);
        peer.run_for(1);
        assert_eq!(peer.published().len(), 1);
        peer.say("the next one waits anew");
    }
}

#[test]
fn a_second_after_a_burst_its_memory_is_given_back_and_a_link_that_lags_gets_it_from_disk() {
    let (mut peer, links) = pushing_to(&[2]);
    let count = run_ahead(&mut peer);
    let sent_before = texts_said(&peer.said(links[0])).len();
    assert_eq!(peer.rests(), 0);
    peer.run_for(1_100);
    assert_eq!(peer.rests(), 1);
    let census = peer.mesh.census();
    let newest = census.iter().find(|count| count.what == "bytes of the newest envelopes").unwrap();
    assert_eq!(newest.len, 0);
    peer.unblock(links[0]);
    let sent = sent_before + texts_said(&peer.said(links[0])).len();
    assert_eq!(sent, count + 1, "with the one that had to wait");
}
